"""Users with facts, events, gists and their vectors, made up and copied into a database."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import UUID

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from pgvector.asyncpg import register_vector
from sqlalchemy.engine import make_url

from schemas.profile_schema import DEFAULT_SLOTS
from storage.columns import LIVE_GENERATION

PROJECT_ID: Final = "default"
GISTS_OF_AN_EVENT: Final = 4
WORDS: Final = 20_000
WORDS_OF_A_FACT: Final = 8
WORDS_OF_A_GIST: Final = 12
# Of a user's events, all in the time that a context looks back to.
DAYS: Final = 150
USERS_AT_A_TIME: Final = 100
NOW: Final = datetime.now(UTC)

_SYLLABLES: Final = [consonant + vowel for consonant in "bdfghjklmnprstvz" for vowel in ("a", "e", "i", "o", "u", "ou")]


@dataclass(frozen=True, slots=True)
class Size:
    """Of one user's memory; facts are entries of the profile."""

    users: int
    facts: int
    gists: int
    dimension: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded until the time was over, and how long that took with indexes and statistics."""

    users: int
    seconds: float


class Language:
    """Words that are as frequent as those of a language, each with a direction; a text points where its words do."""

    def __init__(self, dimension: int, seed: int) -> None:
        chance = random.Random(seed)
        words: dict[str, None] = {}
        while len(words) < WORDS:
            words["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4)))] = None
        self._words = list(words)
        self._frequencies = 1 / np.arange(10, WORDS + 10)
        self._frequencies /= self._frequencies.sum()
        self._chance = np.random.default_rng(seed)
        self._directions = self._chance.standard_normal((WORDS, dimension), dtype=np.float32)

    def texts(self, count: int, words: int) -> tuple[list[str], NDArray[np.float32]]:
        """So many texts of so many words, and their vectors: (count, dimension) of unit length."""
        chosen = self._chance.choice(WORDS, size=(count, words), p=self._frequencies)
        vectors = self._directions[chosen].sum(axis=1)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return [" ".join(self._words[word] for word in row) for row in chosen], vectors

    def questions(self, count: int) -> tuple[list[str], NDArray[np.float32]]:
        """What is searched for: four words."""
        return self.texts(count, 4)


def user_id(number: int) -> str:
    return f"user-{number}"


async def load(
    database_url: str, size: Size, language: Language, limit_s: float, progress: Callable[[int, float], None]
) -> Loaded:
    """Copy users into an empty, migrated database until all are there or the time is over, whichever comes first."""
    began = time.monotonic()
    connection = await asyncpg.connect(dsn=make_url(database_url).set(drivername="postgresql").render_as_string(False))
    try:
        await register_vector(connection)
        users = 0
        while users < size.users and time.monotonic() - began < limit_s:
            batch = range(users, min(users + USERS_AT_A_TIME, size.users))
            tables = await asyncio.to_thread(rows_of, batch, size, language)
            async with connection.transaction():
                for table, (columns, rows) in tables.items():
                    await connection.copy_records_to_table(table, records=rows, columns=columns)
            users = batch.stop
            progress(users, time.monotonic() - began)
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()
    return Loaded(users, time.monotonic() - began)


def rows_of(numbers: Sequence[int], size: Size, language: Language) -> dict[str, tuple[list[str], list[Any]]]:
    """Columns and rows by table, in an order that foreign keys allow."""
    chance = random.Random(numbers[0])
    users: list[Any] = []
    facts: list[Any] = []
    events: list[Any] = []
    gists: list[Any] = []
    slots = _slots(size.facts)
    events_of_a_user = -(-size.gists // GISTS_OF_AN_EVENT)
    fact_texts = _each(language.texts(len(numbers) * size.facts, WORDS_OF_A_FACT))
    event_texts = _each(language.texts(len(numbers) * events_of_a_user, WORDS_OF_A_GIST))
    gist_texts = _each(language.texts(len(numbers) * size.gists, WORDS_OF_A_GIST))

    def new_id() -> UUID:
        return UUID(int=chance.getrandbits(128), version=4)

    for number in numbers:
        owner = (PROJECT_ID, user_id(number), LIVE_GENERATION)
        users.append((*owner, NOW, NOW))
        for (topic, sub_topic), (text, vector) in zip(slots, islice(fact_texts, size.facts), strict=True):
            at = NOW - timedelta(days=DAYS * chance.random())
            row = (new_id(), *owner, topic, sub_topic, text, chance.randint(0, 5), [f"blob-{number}/0"])
            facts.append((*row, at, at, at, at, vector))
        left = size.gists
        for place, (text, vector) in enumerate(islice(event_texts, events_of_a_user)):
            at = NOW - timedelta(days=DAYS * place / events_of_a_user)
            event_id, message_ids = new_id(), [f"blob-{number}-{place}/0"]
            tags = '[{"tag": "mood", "value": "good"}]' if place % 5 == 0 else "[]"
            events.append((event_id, *owner, text, tags, "[]", place, message_ids, at, at, vector))
            for line, (text_, vector_) in enumerate(islice(gist_texts, min(left, GISTS_OF_AN_EVENT))):
                gists.append((new_id(), event_id, line, *owner, text_, message_ids, at, at, vector_))
            left -= GISTS_OF_AN_EVENT
    own = "project_id user_id"
    return {
        "users": (f"{own} live_generation created_at updated_at".split(), users),
        "profiles": (
            f"profile_id {own} generation topic sub_topic content update_hits message_ids occurred_at recorded_at "
            "created_at updated_at embedding".split(),
            facts,
        ),
        "events": (
            f"event_id {own} generation summary tags profile_delta revision message_ids occurred_at recorded_at "
            "embedding".split(),
            events,
        ),
        "gists": (
            f"gist_id event_id number {own} generation text message_ids occurred_at recorded_at embedding".split(),
            gists,
        ),
    }


def _each(texts: tuple[list[str], NDArray[np.float32]]) -> Any:
    return ((text, HalfVector(vector)) for text, vector in zip(*texts, strict=True))


def _slots(count: int) -> list[tuple[str, str]]:
    """As many slots as there are facts: those of Memobase's topics, then more of their kind."""
    usual = [(topic, name) for topic, names in DEFAULT_SLOTS.items() for name in names]
    topics = list(DEFAULT_SLOTS)
    more = ((topics[number % len(topics)], f"detail_{number}") for number in range(count))
    return [*usual, *more][:count]
