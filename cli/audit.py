"""Accounts for every record of `chat-messages` in a range: reads what each stage holds, then classifies in batches."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from cli.audit_checks import (
    ALL_TIMES,
    Sources,
    check_dead_letters,
    check_ledger,
    check_once,
    check_order,
    check_orphans,
    check_outbox,
    time_bounds,
)
from cli.audit_findings import CHECKS, Check, CheckName, Sample
from cli.audit_rules import (
    BlobFacts,
    Decoded,
    PendingUnit,
    Place,
    Seen,
    Stages,
    Tally,
    decode,
    is_misplaced,
    outcome_before_decoding,
    outcome_of_blob,
)
from cli.audit_topics import check_changes, check_profiles
from cli.progress import counting
from cli.scanning import TopicScanner, topic_scanner
from schemas import headers as names
from schemas.errors import ConfigurationError, InvalidRecord
from schemas.settings import Settings
from schemas.windows import Window, decode_window
from storage.audit_applied import RecordRange, TimeRange
from storage.auditing import cut_offs, units_of_blobs
from storage.database import create_engine
from storage.errors import translated
from storage.holding import all_held
from streams.buffer_reader import read_buffered
from streams.raw_records import RawRecord, origin_of
from streams.topics import Topics

BUFFER_STAGE: Final = b"buffer"
# Some statements read whole tables.
STATEMENT_S: Final = 3600.0
# What waits in the outbox for longer is told.
OUTBOX_AGE_S: Final = 300.0

# By project and user.
Takes = Callable[[str, str], bool]
DecodedRecord = tuple[Seen, Decoded]
# Of a batch, those on their users' partitions that the buffer agent has read.
Observe = Callable[[AsyncConnection, Sequence[DecodedRecord]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Range:
    """Which records to account for; None is all. Offsets are of every partition that is looked at."""

    partition: int | None = None
    from_offset: int | None = None
    to_offset: int | None = None
    times: TimeRange = ALL_TIMES

    @property
    def is_all(self) -> bool:
        return self == Range()


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit has found; without a tally where records were not asked for."""

    tally: Tally | None
    checks: tuple[Check, ...]

    @property
    def agrees(self) -> bool:
        """Whether every record was counted once, none is missing, and nothing is wrong."""
        return all(check.wrong == 0 for check in self.checks) and (self.tally is None or self.tally.agrees)


async def audit(
    settings: Settings,
    wanted: Range,
    *,
    quiet: bool = True,
    only: Collection[CheckName] = CHECKS,
    outbox_age_s: float = OUTBOX_AGE_S,
) -> Report:
    """Account for every record of the range that there is when this begins, and check what came of it."""
    topics = Topics(settings.kafka.topic_prefix)
    engine = create_engine(settings.storage, STATEMENT_S)
    try:
        with translated("auditing"):
            async with topic_scanner(settings.kafka) as scanner:
                everything = Sources(settings, topics, scanner, engine, times=wanted.times)
                begin, stop = await bounds_of(everything, wanted)
                records = None if wanted.is_all else RecordRange(topics.chat_messages, begin, stop)
                sources = replace(everything, records=records)
                tally = await account(sources, begin, stop, quiet=quiet) if "records" in only else None
                return Report(tally, tuple(await run_checks(sources, tally, only, outbox_age_s)))
    finally:
        await engine.dispose()


async def run_checks(
    sources: Sources, tally: Tally | None, only: Collection[CheckName], outbox_age_s: float
) -> list[Check]:
    """The checks that are asked for, by their order of CHECKS."""
    found: dict[str, Check] = {}

    def note(*checks: Check) -> None:
        for check in checks:
            if check.name in found:
                found[check.name] += check
            elif check.name in only:
                found[check.name] = check

    if tally is not None:
        note(check_of(tally))
    for name, run in _CHECKS.items():
        if name in only:
            note(await run(sources))
    if "outbox" in only:
        note(await check_outbox(sources, outbox_age_s))
    if not {"profiles", "change-order"}.isdisjoint(only):
        note(*await check_profiles(sources))
    if not {"changes", "change-order"}.isdisjoint(only):
        note(*await check_changes(sources))
    return [found[name] for name in CHECKS if name in found]


_CHECKS: Final[Mapping[CheckName, Callable[[Sources], Awaitable[Check]]]] = {
    "once": check_once,
    "order": check_order,
    "dead-letters": check_dead_letters,
    "ledger": check_ledger,
    "orphans": check_orphans,
}


def check_of(tally: Tally) -> Check:
    """The account of the records as one of the checks."""
    check = Check("records", looked_at=tally.records)
    check.add(Sample("in no stage at all", place=f"{partition}/{offset}") for partition, offset in tally.missing)
    return check


async def account(
    sources: Sources,
    begin: Mapping[int, int],
    stop: Mapping[int, int],
    *,
    quiet: bool,
    takes: Takes | None = None,
    observe: Observe | None = None,
) -> Tally:
    """Give every record of the range its outcome; `observe` is shown the decoded ones, batch by batch.

    With `takes` only the records are counted that can be decoded and whose project and user it takes.
    """
    scanner, topic = sources.scanner, sources.topics.chat_messages
    tally = Tally()
    first, end = await scanner.bounds(topic)
    async with sources.engine.connect() as connection:
        stages = await read_stages(scanner, sources.settings, sources.topics, connection)
        tally.held = stages.held
        total = sum(max(0, stop[number] - begin[number]) for number in stop)
        with counting("accounting", total, quiet=quiet) as advance:
            async for records in scanner.scan(topic, begin, stop):
                seen = [seen_record(record) for record in records]
                decoded = await classify(connection, seen, stages, len(end), tally, takes)
                if observe is not None:
                    await observe(connection, decoded)
                advance(len(records))
    if tally.lacks_copies:
        _, newest = await scanner.bounds(topic)
        before = {number: begin.get(number, first[number]) for number in first}
        after = {number: stop.get(number, first[number]) for number in first}
        for low, high in ((first, before), (after, newest)):
            async for records in scanner.scan(topic, low, high):
                note_copies([seen_record(record) for record in records], tally)
    tally.settle()
    return tally


async def bounds_of(sources: Sources, wanted: Range) -> tuple[dict[int, int], dict[int, int]]:
    """The range as first and next offsets by partition."""
    first, end = await sources.scanner.bounds(sources.topics.chat_messages)
    begin, stop = chosen(wanted, first, end)
    early, late = await time_bounds(sources, sources.topics.chat_messages)
    return (
        {number: max(offset, early[number]) for number, offset in begin.items()},
        {number: min(offset, late[number]) for number, offset in stop.items()},
    )


async def classify(
    connection: AsyncConnection,
    records: Sequence[Seen],
    stages: Stages,
    partitions: int,
    tally: Tally,
    takes: Takes | None = None,
) -> Sequence[DecodedRecord]:
    """Count some records, with one look into Postgres for all of them; returns those on their users' partitions."""
    note_copies(records, tally)
    placed: list[DecodedRecord] = []
    blobs: list[tuple[Seen, BlobFacts]] = []
    for seen in records:
        decoded = None if takes is None else decode(seen)
        if takes is not None and (decoded is None or not takes(decoded.project_id, decoded.user_id)):
            continue
        outcome = outcome_before_decoding(seen, stages)
        if outcome is not None:
            tally.add(seen.place, outcome)
            continue
        decoded = decoded or decode(seen)
        if decoded is None or is_misplaced(seen, decoded.user_id, partitions):
            # A dead letter or a copy has to be found, or it is lost.
            tally.add(seen.place, "missing")
            continue
        placed.append((seen, decoded))
        if decoded.facts is None:
            tally.add(seen.place, "command")
        else:
            blobs.append((seen, decoded.facts))
    keys = {facts.blob for _, facts in blobs}
    if not keys:
        return placed
    units = await units_of_blobs(connection, keys)
    forgets = await cut_offs(connection, {key[:2] for key in keys})
    await connection.rollback()
    for seen, facts in blobs:
        rows, forget = units.get(facts.blob, ()), forgets.get(facts.blob[:2])
        tally.add(seen.place, outcome_of_blob(seen, facts, stages, rows, forget))
    return placed


def note_copies(records: Sequence[Seen], tally: Tally) -> None:
    """Note the originals of forwarded and redriven records."""
    for seen in records:
        if seen.origin is not None and seen.origin.topic == seen.position.topic:
            tally.add_copy_of((seen.origin.partition, seen.origin.offset))


def seen_record(record: Any) -> Seen:
    """An aiokafka record as the rules see it."""
    raw = RawRecord.of(record)
    try:
        origin = origin_of(raw)
    except InvalidRecord:
        # Headers that name no position are the buffer agent's to refuse; so is an id that is none.
        origin = None
    carried = dict(raw.headers).get(names.BLOB_ID)
    carried_id = None if carried is None else carried.decode("utf-8", "replace")
    return Seen(raw.position, raw.key, raw.value, origin, carried_id, raw.headers)


def chosen(wanted: Range, first: Mapping[int, int], end: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """The range as first and next offsets by partition; raises ConfigurationError if there is no such partition."""
    if wanted.partition is not None and wanted.partition not in end:
        raise ConfigurationError(f"there is no partition {wanted.partition}; they are 0 to {len(end) - 1}")
    partitions = end if wanted.partition is None else [wanted.partition]
    begin = {number: max(first[number], wanted.from_offset or 0) for number in partitions}
    stop = {n: end[n] if wanted.to_offset is None else min(end[n], wanted.to_offset) for n in partitions}
    return begin, stop


async def read_stages(scanner: TopicScanner, settings: Settings, topics: Topics, connection: AsyncConnection) -> Stages:
    """In the order of the data path: a record that moves on meanwhile is found again behind, never lost between."""
    read_up_to = await scanner.committed(topics.buffer_group, topics.chat_messages)
    refused = await _read_refused(scanner, topics)
    buffered = await read_buffered(settings.kafka)
    pending: dict[Place, list[PendingUnit]] = {}
    await _read_unfinished(scanner, topics, pending)
    reasons: Counter[str] = Counter()
    async for held in all_held(connection):
        reasons[held.reason] += 1
        if isinstance(held.record, Window):
            _add_pending(pending, held.record, "held")
    # The snapshot of the look-ups that follow must be a later one.
    await connection.rollback()
    return Stages(
        read_up_to=read_up_to,
        refused=refused,
        buffered={(blob.position.partition, blob.position.offset) for blob in buffered.blobs},
        buffered_blobs={(blob.key.project_id, blob.key.user_id, blob.blob_id) for blob in buffered.blobs},
        pending=pending,
        pending_blobs={unit.blob for units in pending.values() for unit in units},
        held=reasons,
    )


async def _read_refused(scanner: TopicScanner, topics: Topics) -> set[Place]:
    """Places of the records that the buffer agent has parked; what extraction parks is in Postgres."""
    refused = set()
    first, end = await scanner.bounds(topics.dead_letters)
    async for records in scanner.scan(topics.dead_letters, first, end):
        for record in records:
            found = dict(record.headers)
            if found.get(names.ERROR_STAGE) == BUFFER_STAGE and (
                found.get(names.ERROR_TOPIC, b"").decode() == topics.chat_messages
            ):
                refused.add((int(found[names.ERROR_PARTITION]), int(found[names.ERROR_OFFSET])))
    return refused


async def _read_unfinished(scanner: TopicScanner, topics: Topics, pending: dict[Place, list[PendingUnit]]) -> None:
    """Units of the windows that the extraction group has not finished."""
    committed = await scanner.committed(topics.extraction_group, topics.extraction_windows)
    first, end = await scanner.bounds(topics.extraction_windows)
    begin = {number: max(start, committed.get(number, 0)) for number, start in first.items()}
    async for records in scanner.scan(topics.extraction_windows, begin, end):
        for record in records:
            window = decode_window(record.value)
            if isinstance(window, Window):
                _add_pending(pending, window, "extracting")


def _add_pending(pending: dict[Place, list[PendingUnit]], window: Window, outcome: Any) -> None:
    for unit in window.units:
        blob = (window.project_id, window.user_id, unit.blob_id)
        place = (unit.position.partition, unit.position.offset)
        pending.setdefault(place, []).append(PendingUnit(blob, unit.key, outcome))
