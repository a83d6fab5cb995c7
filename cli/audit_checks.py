"""The checks of what was applied and what waits: each reads as little as it needs, and decides in pure functions."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from cli.audit_findings import SAMPLES, Check, Sample
from cli.audit_ledger import Books, faults_of
from cli.audit_order import OrderWatch, applied_twice
from cli.scanning import SILENCE_S, TopicScanner
from schemas import headers as names
from schemas.settings import Settings
from schemas.windows import Position, Window, WindowCommand, decode_window
from storage.audit_applied import RecordRange, TimeRange, applied_windows, cited_twice, several_applied
from storage.audit_orphans import find_orphans
from storage.audit_waiting import ledger_or_held, overdue, parked_units, waiting_dead_letters
from storage.auditing import cut_offs, units_of_blobs
from storage.ledger import ledger_id_of
from streams.topics import Topics, partition_for

# Windows whose books are read together hold no more units than this, but for one large one.
UNITS_AT_ONCE: Final = 1000

ALL_TIMES: Final = TimeRange()
# How far the clocks of a worker and a relay may be apart.
CLOCKS_APART_MS: Final = 3600 * 1000

# Partition, offset, reason, message index, part.
Letter = tuple[int, int, str, int, int]


@dataclass(frozen=True, slots=True)
class Sources:
    """What an audit reads from. `records` is None for all; times are Unix times in milliseconds, None for open ends."""

    settings: Settings
    topics: Topics
    scanner: TopicScanner
    engine: AsyncEngine
    records: RecordRange | None = None
    times: TimeRange = ALL_TIMES

    @property
    def silence_s(self) -> float:
        """For how long a topic may stand still: an open transaction hides what comes after it until it is over."""
        return SILENCE_S + self.settings.kafka.transaction_timeout_s

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose every transaction sees one moment."""
        async with self.engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection


async def check_once(sources: Sources) -> Check:
    """No piece of a blob is applied twice, and no message was extracted twice."""
    check = Check("once")
    async with sources.snapshot() as connection:
        async for blob in several_applied(connection, sources.records):
            check.looked_at += len(blob)
            check.add(applied_twice(blob))
        await connection.rollback()
        count, found = await cited_twice(connection, sources.times, SAMPLES)
    check.add(Sample("two extractions have events of it", *user_and_message) for user_and_message in found)
    check.wrong += count - len(found)
    return check


async def check_order(sources: Sources) -> Check:
    """A user's windows, and the records of each type of blob in them, were applied in their order."""
    check, watch = Check("order"), OrderWatch()
    async with sources.snapshot() as connection:
        async for window in applied_windows(connection, sources.records):
            check.looked_at += 1
            check.add(watch.look(window))
    return check


async def check_orphans(sources: Sources) -> Check:
    """Every row has what it belongs to."""
    check = Check("orphans")
    async with sources.snapshot() as connection:
        async for kind in find_orphans(connection, SAMPLES):
            if not kind.is_wrong:
                check.unsettled += kind.count
                continue
            check.add(Sample(kind.kind, *user) for user in kind.users)
            check.wrong += kind.count - len(kind.users)
    return check


async def check_outbox(sources: Sources, age_s: float) -> Check:
    """Nothing waits for longer than that."""
    check = Check("outbox")
    async with sources.snapshot() as connection:
        check.looked_at, count, found = await overdue(connection, age_s, SAMPLES)
    check.add(
        Sample(f"a record for {topic} waits since {at.isoformat(timespec='seconds')}", project_id, user_id)
        for project_id, user_id, topic, at in found
    )
    check.wrong += count - len(found)
    return check


async def check_dead_letters(sources: Sources) -> Check:
    """What extraction has parked is in the topic, or in the outbox."""
    check, topic = Check("dead-letters"), sources.topics.dead_letters
    sought: dict[Letter, Sample] = {}
    parked_ms: dict[Letter, int] = {}
    async with sources.snapshot() as connection:
        async for unit in parked_units(connection, sources.records):
            if unit.position is not None and unit.position.topic == sources.topics.chat_messages:
                place = unit.position.partition, unit.position.offset
                letter = (*place, unit.reason or "", unit.message_index, unit.part)
                at = f"{place[0]}/{place[1]}"
                sought[letter] = Sample(f"no dead letter ({unit.reason})", unit.project_id, unit.user_id, at)
                parked_ms[letter] = int(unit.recorded_at.timestamp() * 1000)
        check.looked_at = len(sought)
        # Of the same moment as the units.
        async for headers in waiting_dead_letters(connection):
            for letter in letters_of({name: value.encode() for name, value in headers.items()}):
                sought.pop(letter, None)
    if not sought:
        return check
    kept = await kept_since(sources, topic)
    first, _ = await sources.scanner.bounds(topic)
    end = await sources.scanner.written(topic)
    async for records in sources.scanner.scan(topic, first, end, sources.silence_s):
        for record in records:
            for letter in letters_of(dict(record.headers)):
                sought.pop(letter, None)
    for letter, sample in sought.items():
        if parked_ms[letter] < kept((sample.user_id or "").encode()):
            check.unsettled += 1
        else:
            check.add([sample])
    return check


def letters_of(found: Mapping[str, bytes]) -> Iterable[Letter]:
    """The pieces that a dead letter names, by its headers; all of it where it names none."""
    if names.ERROR_OFFSET not in found:
        return []
    place = int(found[names.ERROR_PARTITION]), int(found[names.ERROR_OFFSET])
    reason = found[names.ERROR_REASON].decode()
    pieces = orjson.loads(found.get(names.ERROR_PIECES, b"[]")) or [[None, None]]
    # Ingest names items by number: that is no unit.
    pairs = [piece for piece in pieces if isinstance(piece, list)]
    whole = -1
    return [
        (*place, reason, whole if index is None else index, whole if part is None else part) for index, part in pairs
    ]


async def kept_since(sources: Sources, topic: str) -> Callable[[bytes], int]:
    """For a key, from which time on, Unix time in milliseconds, its records are still on the topic."""
    first, end = await sources.scanner.bounds(topic)
    since = dict.fromkeys(first, 0)
    cut = {number: offset for number, offset in first.items() if offset > 0}
    for number, offset in cut.items():
        since[number] = 1 << 62
        async for records in sources.scanner.scan(topic, {number: offset}, {number: min(end[number], offset + 100)}):
            since[number] = min(since[number], records[0].timestamp + CLOCKS_APART_MS)
    return lambda key: since[partition_for(key, len(since))]


async def check_ledger(sources: Sources) -> Check:
    """Every window and command that the extraction group has finished has its row, or is held."""
    check, topic = Check("ledger"), sources.topics.extraction_windows
    committed = await sources.scanner.committed(sources.topics.extraction_group, topic)
    begin, end = await time_bounds(sources, topic)
    stop = {number: min(end[number], committed.get(number, 0)) for number in end}
    async with sources.snapshot() as connection:
        async for records in sources.scanner.scan(topic, begin, stop):
            chunk: list[tuple[Window | WindowCommand, Position]] = []
            units = 0
            for record in records:
                decoded = decode_window(record.value)
                place = Position(
                    topic=topic, partition=record.partition, offset=record.offset, timestamp_ms=record.timestamp
                )
                chunk.append((decoded, place))
                units += len(decoded.units) if isinstance(decoded, Window) else 0
                if units >= UNITS_AT_ONCE:
                    await _look_up(connection, chunk, check)
                    chunk, units = [], 0
            if chunk:
                await _look_up(connection, chunk, check)
    return check


async def _look_up(
    connection: AsyncConnection, chunk: list[tuple[Window | WindowCommand, Position]], check: Check
) -> None:

    users = {(record.project_id, record.user_id) for record, _ in chunk}
    blobs = {
        (record.project_id, record.user_id, unit.blob_id)
        for record, _ in chunk
        if isinstance(record, Window)
        for unit in record.units
    }
    rows, held = await ledger_or_held(connection, {ledger_id_of(record) for record, _ in chunk})
    units = await units_of_blobs(connection, blobs) if blobs else {}
    books = Books(rows, held, units, await cut_offs(connection, users))
    await connection.rollback()
    for record, place in chunk:
        check.looked_at += 1
        check.add(
            Sample(fault, record.project_id, record.user_id, f"{place.partition}/{place.offset}")
            for fault in faults_of(record, books)
        )


async def time_bounds(sources: Sources, topic: str) -> tuple[dict[int, int], dict[int, int]]:
    """First and next offsets of what was written to a topic of ours in the range of time."""
    first, end = await sources.scanner.bounds(topic)
    begin, stop = sources.times.begin, sources.times.end
    if begin is not None:
        at = await sources.scanner.at_time(topic, int(begin.timestamp() * 1000))
        first = {number: max(offset, at[number]) for number, offset in first.items()}
    if stop is not None:
        at = await sources.scanner.at_time(topic, int(stop.timestamp() * 1000))
        end = {number: min(offset, at[number]) for number, offset in end.items()}
    return first, end
