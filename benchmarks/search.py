"""`python -m benchmarks.search`: how often search finds what a user said, by sentences that describe the user.
Writes benchmarks/out/search.json. docs/search.md tells the method."""

import argparse
import asyncio
import platform
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import comb
from pathlib import Path
from typing import Any, Final, get_args
from uuid import uuid4

import numpy as np
import orjson
from pydantic import SecretStr
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.shared_data import shared_file
from embedded import EmbeddedPostgres
from extraction.factory import create_embedder
from extraction.protocol import Embedder
from schemas.errors import MemostreamError
from schemas.memory import Embedding
from schemas.settings import Settings, StorageSettings, load_settings
from storage.database import create_engine
from storage.migrate import migrate
from storage.search import Mode, Search, search
from storage.tables import events, gists, users

RESULTS_FILE: Final = Path(__file__).with_name("out") / "search.json"
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
DEPTHS: Final = (1, 5, 10)
SEED: Final = 7
# Texts of one call for embeddings.
BATCH: Final = 64
PROJECT: Final = "bench"
PACKAGES: Final = ("pgvector", "sqlalchemy", "wordllama")
# Like, love and the like stand in most sentences about anybody.
EMPTY_WORDS: Final = frozenset({"like", "love", "enjoy", "im", "realli", "also", "user"})
START: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Memory:
    """Messages of several people in the rows of one user, and sentences about each of them."""

    name: str
    messages: tuple[tuple[str, str], ...]
    sentences: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found for a sentence, and what should be: numbers of messages."""

    found: tuple[int, ...]
    own: frozenset[int]
    telling: frozenset[int]
    messages: int


def main() -> int:
    options = _options()
    if options.dialogs is None or options.personas is None:
        print("benchmarks.search: name conversations with --dialogs and --personas", file=sys.stderr)
        return 2
    try:
        document = asyncio.run(_measure(load_settings(options.config), options))
    except MemostreamError as error:
        print(f"benchmarks.search: {error}", file=sys.stderr)
        return 2
    RESULTS_FILE.parent.mkdir(exist_ok=True)
    RESULTS_FILE.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    print(f"\nwritten to {RESULTS_FILE}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--config", type=Path, help="config.yaml; else MEMOSTREAM_CONFIG, .env and the environment")
    parser.add_argument("--dialogs", type=Path, default=shared_file("data/personachat-en.jsonl"), help="records, JSONL")
    parser.add_argument(
        "--personas",
        type=Path,
        default=shared_file("data/personachat-en.personas.json"),
        help="JSON: user id to sentences about the user",
    )
    parser.add_argument("--people", type=int, default=14, help="whose messages are in one memory")
    parser.add_argument("--memories", type=int, help="only so many: a try of a model that is paid for")
    return parser.parse_args()


def memories_of(records: Sequence[bytes], personas: Mapping[str, Sequence[str]], people: int) -> list[Memory]:
    """Everybody who said something and is described, in groups that chance has made."""
    said: dict[str, list[str]] = {}
    for line in records:
        record = orjson.loads(line)
        messages = record["blob_data"].get("messages", ())
        texts = [message["content"] for message in messages if message["role"] == "user"]
        said.setdefault(record["user_id"], []).extend(texts)
    known = sorted(name for name in personas if said.get(name))
    random.Random(SEED).shuffle(known)
    groups = [known[begin : begin + people] for begin in range(0, len(known), people)]
    return [
        Memory(
            f"memory-{number:03d}",
            tuple((name, message) for name in group for message in said[name]),
            tuple((name, sentence) for name in group for sentence in personas[name]),
        )
        for number, group in enumerate(groups)
    ]


def telling(sentence: frozenset[str], messages: Sequence[frozenset[str]]) -> frozenset[int]:
    """The messages that hold at least half of the sentence's words; none where it has no word."""
    if not sentence:
        return frozenset()
    return frozenset(number for number, message in enumerate(messages) if 2 * len(sentence & message) >= len(sentence))


def recall(answers: Sequence[Answer], depth: int) -> dict[str, float]:
    """`person`: how often the first `depth` hold a message of the person whom the sentence is about, and `by_chance`.
    `telling`: of the person's messages that say it in its words, how many are among them, where there is one.
    """
    people = [bool(answer.own.intersection(answer.found[:depth])) for answer in answers]
    luck = [1 - comb(answer.messages - len(answer.own), depth) / comb(answer.messages, depth) for answer in answers]
    said = [answer for answer in answers if answer.telling]
    shares = [
        len(answer.telling.intersection(answer.found[:depth])) / min(depth, len(answer.telling)) for answer in said
    ]
    return {
        "person": round(float(np.mean(people)), 4),
        "by_chance": round(float(np.mean(luck)), 4),
        "telling": round(float(np.mean(shares)), 4) if shares else 0.0,
        "telling_sentences": len(said),
    }


async def _measure(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    embedder = create_embedder(settings)
    if embedder is None:
        raise MemostreamError("embedding.enabled is false, and there is nothing to compare")
    personas = orjson.loads(options.personas.read_bytes())
    memories = memories_of(options.dialogs.read_bytes().splitlines(), personas, options.people)[: options.memories]
    sentences = sum(len(memory.sentences) for memory in memories)
    messages = sum(len(memory.messages) for memory in memories)
    print(f"{len(memories)} memories, {messages:,} messages of {options.people} people each, {sentences:,} sentences")
    print(f"embeddings by {settings.embedding_model}, {settings.embedding_dimension} dimensions")
    try:
        with tempfile.TemporaryDirectory() as folder:
            postgres = EmbeddedPostgres(Path(folder), progress=print)
            await postgres.start()
            try:
                await postgres.create_database()
                url = postgres.database_url()
                await migrate(url, embedding_dimension=settings.embedding_dimension)
                engine = create_engine(StorageSettings(database_url=SecretStr(url)))
                try:
                    answers = await _ask_all(engine, embedder, memories)
                finally:
                    await engine.dispose()
            finally:
                await postgres.stop()
    finally:
        await embedder.close()
    results = {mode: {f"recall@{depth}": recall(answers[mode], depth) for depth in DEPTHS} for mode in MODES}
    _show(results)
    return {
        "benchmark": "search",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "architecture": platform.machine(),
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
        "dialogs": options.dialogs.name,
        "embedding_model": settings.embedding_model,
        "dimension": settings.embedding_dimension,
        "people_per_memory": options.people,
        "memories": len(memories),
        "messages": messages,
        "sentences": sentences,
        "results": results,
    }


async def _ask_all(engine: AsyncEngine, embedder: Embedder, memories: Sequence[Memory]) -> dict[Mode, list[Answer]]:
    answers: dict[Mode, list[Answer]] = {mode: [] for mode in MODES}
    for memory in memories:
        said = [message for _, message in memory.messages]
        asked = [sentence for _, sentence in memory.sentences]
        await _write(engine, memory, await _embed(embedder, said, are_questions=False))
        vectors = await _embed(embedder, asked, are_questions=True)
        words = await _words(engine, [*said, *asked])
        holding, wanted = words[: len(said)], words[len(said) :]
        async with engine.connect() as connection:
            for number, (person, sentence) in enumerate(memory.sentences):
                own = frozenset(index for index, (name, _) in enumerate(memory.messages) if name == person)
                right = telling(wanted[number], holding) & own
                for mode in MODES:
                    question = Search(mode, sentence, vectors[number], max(DEPTHS), START, kinds=("gist",))
                    # The number of a message stands in its session, for texts may be the same.
                    rows = await search(connection, PROJECT, memory.name, question)
                    found = tuple(int(row.session_ids[0]) for row in rows if row.session_ids)
                    answers[mode].append(Answer(found, own, right, len(said)))
    return answers


async def _write(engine: AsyncEngine, memory: Memory, vectors: Sequence[Embedding]) -> None:
    """A gist a message, all of one event."""
    owner = {"project_id": PROJECT, "user_id": memory.name}
    times = {"occurred_at": START, "recorded_at": START}
    event_id = uuid4()
    async with engine.begin() as connection:
        await connection.execute(insert(users).values(**owner, created_at=START, updated_at=START))
        await connection.execute(
            insert(events).values(**owner, **times, event_id=event_id, tags=[], profile_delta=[], revision=1)
        )
        rows = [
            {
                **owner,
                **times,
                "gist_id": uuid4(),
                "event_id": event_id,
                "number": number,
                "text": message,
                "session_ids": [str(number)],
                "embedding": vector if vector.any() else None,
            }
            for number, ((_, message), vector) in enumerate(zip(memory.messages, vectors, strict=True))
        ]
        await connection.execute(insert(gists), rows)


async def _embed(embedder: Embedder, texts: Sequence[str], *, are_questions: bool) -> list[Embedding]:
    vectors: list[Embedding] = []
    for begin in range(0, len(texts), BATCH):
        found, _ = await embedder.embed(texts[begin : begin + BATCH], are_questions=are_questions)
        vectors.extend(found)
    return vectors


async def _words(engine: AsyncEngine, texts: Sequence[str]) -> list[frozenset[str]]:
    """Of each text its English stems, without words that say nothing."""
    query = text(
        "SELECT tsvector_to_array(to_tsvector('english', said)) FROM "
        "unnest(CAST(:texts AS text[])) WITH ORDINALITY AS of (said, number) ORDER BY number"
    )
    async with engine.connect() as connection:
        rows = (await connection.execute(query, {"texts": list(texts)})).scalars()
        return [frozenset(row) - EMPTY_WORDS for row in rows]


def _show(results: Mapping[Mode, Mapping[str, Mapping[str, float]]]) -> None:
    print(f"\n{'':10}" + "".join(f"{f'person@{depth}':>12}" for depth in DEPTHS), end="")
    print("".join(f"{f'telling@{depth}':>12}" for depth in DEPTHS))
    for mode, by_depth in results.items():
        values = [found["person"] for found in by_depth.values()] + [found["telling"] for found in by_depth.values()]
        print(f"{mode:10}" + "".join(f"{value:>12.1%}" for value in values))
    any_mode = next(iter(results.values()))
    print(f"{'by chance':10}" + "".join(f"{found['by_chance']:>12.1%}" for found in any_mode.values()))


if __name__ == "__main__":
    sys.exit(main())
