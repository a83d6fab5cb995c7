"""Reads dead letters with what has become of them, sends them again, and drops them."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from cli.batching import batched
from cli.databases import open_database
from cli.dead_letter_rules import (
    BlobKey,
    Letter,
    Mappings,
    Status,
    Wanted,
    again,
    check_words,
    newest_letters,
    read_letter,
    status_of,
)
from cli.scanning import TopicScanner, topic_scanner
from schemas.errors import NotFound
from schemas.mapping_fields import compile_source
from schemas.settings import Settings
from storage.auditing import cut_offs, units_of_blobs
from storage.dropping import drop_parked
from storage.errors import translated as from_postgres
from storage.units import ID_CONFLICT
from streams.clients import producer
from streams.clients import translated as from_kafka
from streams.raw_records import RawRecord
from streams.topics import Topics

BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Found:
    """The letters that were asked for, and how many of their records are done, by status."""

    letters: tuple[Letter, ...]
    done: Mapping[Status, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was sent or dropped, or would be, and what cannot be, with the reason."""

    taken: tuple[Letter, ...]
    refused: tuple[tuple[Letter, str], ...]


async def find_letters(settings: Settings, wanted: Wanted, *, with_done: bool = False) -> Found:
    """The newest letter of each record, in the order in which the records were sent; `with_done` those that are done.

    Raises NotFound where a place is named at which no letter lies, or a reason or topic that none of them has, and
    RetryLater if the broker or Postgres is away.
    """
    topics = Topics(settings.kafka.topic_prefix)
    sources = {source.topic: compile_source(source) for source in settings.ingest.sources}
    mappings = Mappings(sources, settings.buffer.max_blob_bytes)
    async with _database(settings) as engine:
        async with topic_scanner(settings.kafka) as scanner:
            # What is not asked for may be large, and there may be much of it.
            letters = [
                letter if wanted.takes(letter) else replace(letter, value=b"", headers=())
                async for letter in _read(scanner, topics.dead_letters, mappings)
            ]
        newest = newest_letters(letters)
        _check_places(wanted, letters, newest)
        check_words(wanted, letters)
        judged = [letter async for letter in _judged(engine, [one for one in newest if wanted.takes(one)])]
    done = Counter[Status](letter.status for letter in judged if letter.status != "open")
    return Found(tuple(one for one in judged if with_done or one.status == "open"), done)


async def redrive(settings: Settings, letters: Sequence[Letter], *, execute: bool) -> Outcome:
    """Send letters again, each user's in the order in which they were sent in the first place; wait until all are kept.

    Sent twice, they are applied once. Raises RetryLater if the broker is away: what came before is sent.
    """
    taken: list[Letter] = []
    refused: list[tuple[Letter, str]] = []
    for letter in letters:
        if (obstacle := letter.obstacle) is None:
            taken.append(letter)
        else:
            refused.append((letter, obstacle))
    if execute and taken:
        topics = Topics(settings.kafka.topic_prefix)
        async with producer(settings.kafka) as client:
            for some in batched(taken, BATCH):
                with from_kafka("sending dead letters again"):
                    sent = [
                        await client.send(one.topic, one.value, key=one.key, headers=list(one.headers))
                        for one in (again(letter, topics.chat_messages) for letter in some)
                    ]
                    for delivery in sent:
                        await delivery
    return Outcome(tuple(taken), tuple(refused))


async def drop(settings: Settings, letters: Sequence[Letter], *, execute: bool) -> Outcome:
    """Let letters count as erased: nothing of them is applied any more, should they come again."""
    taken: list[Letter] = []
    refused: list[tuple[Letter, str]] = []
    async with _database(settings) as engine:
        for letter in letters:
            if not letter.blobs:
                refused.append((letter, "it names no user; it goes when the topic's retention ends"))
            elif letter.reason == ID_CONFLICT:
                refused.append((letter, "another blob has this id; it goes when the topic's retention ends"))
            elif not execute or any([await _dropped(engine, blob) for blob in letter.blobs]):
                taken.append(letter)
            else:
                refused.append((letter, "it was applied meanwhile"))
    return Outcome(tuple(taken), tuple(refused))


async def _read(scanner: TopicScanner, topic: str, mappings: Mappings) -> AsyncIterator[Letter]:
    first, end = await scanner.bounds(topic)
    async for records in scanner.scan(topic, first, end):
        for record in records:
            letter = read_letter(RawRecord.of(record), mappings)
            if letter is not None:
                yield letter


def _check_places(wanted: Wanted, letters: Sequence[Letter], newest: Sequence[Letter]) -> None:
    there = {(letter.partition, letter.offset) for letter in letters}
    last = {(letter.partition, letter.offset) for letter in newest}
    for partition, offset in sorted(wanted.places):
        if (partition, offset) not in there:
            raise NotFound(f"no dead letter lies at {partition}/{offset}; `memostream dead-letters list` shows them")
        if (partition, offset) not in last:
            raise NotFound(f"the record of {partition}/{offset} has failed again since; name its newest letter")


async def _judged(engine: AsyncEngine, letters: Sequence[Letter]) -> AsyncIterator[Letter]:
    for some in batched(letters, BATCH):
        with from_postgres("looking up parked blobs"):
            async with engine.connect() as connection:
                for letter in await _with_status(connection, some):
                    yield letter


async def _with_status(connection: AsyncConnection, letters: Sequence[Letter]) -> list[Letter]:
    keys = {blob for letter in letters for blob in letter.blobs}
    if not keys:
        return list(letters)
    rows = await units_of_blobs(connection, keys)
    forgets = await cut_offs(connection, {key[:2] for key in keys})
    return [replace(letter, status=status_of(letter, rows, forgets)) for letter in letters]


async def _dropped(engine: AsyncEngine, blob: BlobKey) -> bool:
    with from_postgres("dropping a dead letter"):
        async with engine.begin() as connection:
            return await drop_parked(connection, *blob, datetime.now(UTC))


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[AsyncEngine]:
    async with open_database(settings.storage) as engine:
        yield engine
