"""`python -m benchmarks.quality`: what the configured provider remembers of conversations, scored against the personas
that they were written from. Writes benchmarks/out/quality-<model>.json."""

import argparse
import asyncio
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.memory_of import Remembered, remember
from benchmarks.shared_data import shared_file
from extraction.factory import create_extractor
from extraction.memos import pieces_of
from schemas.errors import MemostreamError
from schemas.memory import ExtractorIdentity
from schemas.policies import policy_of
from schemas.settings import Settings, load_settings

RESULTS_FOLDER: Final = Path(__file__).with_name("out")
OWN_EXAMPLES: Final = Path(__file__).parents[1] / "cli" / "examples" / "conversations.jsonl"
HALVES: Final[dict[str, Sequence[str]]] = {
    "first half": ("--half", "1"),
    "second half": ("--half", "2"),
    "all users": (),
}


def main() -> int:
    options = _options()
    try:
        settings = load_settings(options.config)
        document = asyncio.run(_measure(settings, options))
    except MemostreamError as error:
        print(f"benchmarks.quality: {error}", file=sys.stderr)
        return 2
    RESULTS_FOLDER.mkdir(exist_ok=True)
    model = re.sub(r"[^\w.-]+", "_", document["extractor"]["model"])
    results_file = RESULTS_FOLDER / f"quality-{model}.json"
    results_file.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    print(f"\nwritten to {results_file}")
    return 1 if document["failed"] else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--config", type=Path, help="config.yaml; else MEMOSTREAM_CONFIG, .env and the environment")
    parser.add_argument("--dialogs", type=Path, default=shared_file("data/personachat-en.jsonl"), help="records, JSONL")
    parser.add_argument(
        "--personas",
        type=Path,
        default=shared_file("data/personachat-en.personas.json"),
        help="JSON: user id to the sentences of a good profile",
    )
    parser.add_argument(
        "--scorer",
        type=Path,
        default=shared_file("tools/score_profiles.py"),
        help="script that is given dialogs, personas and facts, and --half 1 or 2; prints JSON",
    )
    parser.add_argument(
        "--users", type=int, help="only so many users, evenly chosen: a try of a model that is paid for"
    )
    return parser.parse_args()


async def _measure(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    scored = options.dialogs is not None and options.personas is not None and options.scorer is not None
    dialogs = options.dialogs if scored else OWN_EXAMPLES
    lines = dialogs.read_bytes().splitlines()
    personas: dict[str, list[str]] = orjson.loads(options.personas.read_bytes()) if scored else {}
    if options.users:
        lines, personas = _some_users(lines, personas, options.users)
    identity = await _identity(settings)
    machine = {"cpus": os.cpu_count() or 0, "architecture": platform.machine(), "python": platform.python_version()}
    print(f"provider {identity.name}, model {identity.model}, extractor {identity.version}")
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    if not scored:
        print("no dialogs with personas here (see --dialogs, --personas, --scorer): our own examples, without a score")
    begin = time.perf_counter()
    found = await remember(lines, settings)
    seconds = time.perf_counter() - begin
    facts = {
        user_id: [piece for row in rows for piece in pieces_of(row.content)] for user_id, rows in found.profiles.items()
    }
    most = max((len(of_user) for of_user in facts.values()), default=0)
    stored = sum(map(len, facts.values()))
    print(
        f"{len(lines):,} records, {len(facts)} users, {found.windows} windows, {seconds:.1f} s;"
        f" {stored:,} facts, {stored / max(len(facts), 1):.2f} a user, {most} at most"
    )
    _show_usage(found)
    scores = _scores(options.scorer, lines, personas, facts) if scored else {}
    return {
        "benchmark": "quality",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "extractor": {"name": identity.name, "version": identity.version, "model": identity.model},
        "dialogs": dialogs.name,
        "records": len(lines),
        "users": len(facts),
        "windows": found.windows,
        "failed": dict(found.failed),
        "seconds": round(seconds, 1),
        "facts": stored,
        "most_facts_of_a_user": most,
        "users_by_facts": dict(sorted(Counter(str(len(of_user)) for of_user in facts.values()).items())),
        "dropped": dict(found.dropped),
        "completions": found.usage.completions,
        "prompt_tokens": found.usage.prompt_tokens,
        "completion_tokens": found.usage.completion_tokens,
        "scores": scores,
    }


async def _identity(settings: Settings) -> ExtractorIdentity:
    extractor = create_extractor(settings)
    try:
        return extractor.identity(policy_of(settings))
    finally:
        await extractor.close()


def _some_users(
    lines: Sequence[bytes], personas: dict[str, list[str]], count: int
) -> tuple[list[bytes], dict[str, list[str]]]:
    named = [orjson.loads(line)["user_id"] for line in lines]
    users = sorted(set(named))
    chosen = set(users[:: max(1, len(users) // count)][:count])
    return (
        [line for line, user_id in zip(lines, named, strict=True) if user_id in chosen],
        {user_id: sentences for user_id, sentences in personas.items() if user_id in chosen},
    )


def _show_usage(found: Remembered) -> None:
    usage = found.usage
    if usage.completions:
        print(
            f"{usage.completions} completions, {usage.embedding_calls} embedding calls,"
            f" {usage.prompt_tokens:,} prompt tokens, {usage.completion_tokens:,} completion tokens"
        )
    for error, count in found.failed.most_common():
        print(f"{count} windows failed: {error}")


def _scores(
    scorer: Path, lines: Sequence[bytes], personas: dict[str, list[str]], facts: dict[str, list[str]]
) -> dict[str, Any]:
    scores = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "dialogs.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        (folder / "personas.json").write_bytes(orjson.dumps(personas))
        records = (orjson.dumps({"user_id": user_id, "facts": of_user}) for user_id, of_user in facts.items())
        (folder / "facts.jsonl").write_bytes(b"\n".join(records) + b"\n")
        files = [str(folder / file) for file in ("dialogs.jsonl", "personas.json", "facts.jsonl")]
        print(f"\n{'':14}{'users':>8}{'facts a user':>14}{'recall':>9}{'precision':>11}")
        for title, half in HALVES.items():
            command = [sys.executable, str(scorer), *files, *half]
            done = subprocess.run(command, capture_output=True, check=True, text=True)
            score = scores[title] = orjson.loads(done.stdout)
            print(
                f"{title:14}{score['users']:>8}{score['facts_per_user']:>14.2f}"
                f"{score['recall']:>9.3f}{score['precision']:>11.3f}"
            )
    return scores


if __name__ == "__main__":
    sys.exit(main())
