"""Replays a range of a topic into live memory: what no stage knows is sent again, and the agents do the rest."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import UUID

from aiokafka import AIOKafkaProducer

from cli.audit import STATEMENT_S
from cli.audit_checks import Sources
from cli.console import note
from cli.databases import open_database
from cli.pacing import room
from cli.progress import counting
from cli.replay_costs import Expected, WindowCount, averaged, expected
from cli.replay_finding import Found, Place, check_found, find_messages, find_windows
from cli.replay_range import Offsets, ReplayRange, offsets_of
from cli.scanning import TopicScanner, topic_scanner
from schemas.envelope import open_value
from schemas.errors import InvalidRecord
from schemas.records import Command, parse_record
from schemas.settings import Settings
from schemas.tokens import token_counter
from schemas.windows import Position, Window, decode_window
from storage.errors import translated as from_postgres
from storage.ledger import command_ledger_id_at, read_ledger
from storage.usage import UsageSum, total_usage
from streams.blob_records import unit_of
from streams.buffer_codec import encode_entry
from streams.clients import producer
from streams.clients import translated as from_kafka
from streams.rate import Rate
from streams.raw_records import RawRecord, origin_of, with_origin
from streams.topics import HEADER_ROOM_BYTES, Topics, check_partitions
from streams.windowing import WindowPolicy

BATCH: Final = 200
# Live messages stand behind what is sent here, so that it is little at a time.
RECORDS_AHEAD: Final = 1000
WINDOWS_AHEAD: Final = 100
# Places that lie closer together are read in one go.
READ_ALONG_RECORDS: Final = 500

Kind = Literal["message", "window", "forget", "unreadable"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay will do. `counts` says what has become of the records that are left out, by the audit's words,
    `sent` counts what is sent by kind, and `places` are the offsets of that by partition, in order. `forgets` are those
    of the forgets, which come first, and `forget_ids` the ids that these will have in the ledger.
    """

    wanted: ReplayRange
    offsets: Offsets
    counts: Mapping[str, int]
    sent: Mapping[Kind, int]
    places: Mapping[int, Sequence[int]]
    forgets: Mapping[int, Sequence[int]]
    forget_ids: Sequence[UUID]
    users: int
    windows: int
    tokens: int
    expected: Expected

    @property
    def records(self) -> int:
        """How many are sent."""
        return sum(self.sent.values())

    def records_of(self, partition: int) -> int:
        """How many of a partition."""
        return len(self.places.get(partition, ())) + len(self.forgets.get(partition, ()))


@dataclass(frozen=True, slots=True)
class Sought:
    """What a record is that is to be sent, and where it was sent first."""

    kind: Kind
    first: Position


async def make_plan(settings: Settings, wanted: ReplayRange, *, quiet: bool) -> Plan:
    """Look what of the range is in no stage. Sends nothing.

    About 100 bytes of memory for each record that is missing. Raises ConfigurationError as `offsets_of` does,
    and where topics do not fit together, NotFound where nothing in it is of whom it is limited to, and RetryLater if
    the broker or Postgres is away.
    """
    topics = Topics(settings.kafka.topic_prefix)
    async with open_database(settings.storage, STATEMENT_S) as engine:
        await check_partitions(settings.kafka, settings.buffer)
        with from_postgres("replaying"):
            async with topic_scanner(settings.kafka) as scanner:
                sources = Sources(settings, topics, scanner, engine)
                offsets = await offsets_of(scanner, wanted)
                if wanted.topic == topics.chat_messages:
                    found = await find_messages(sources, wanted, offsets, quiet=quiet)
                else:
                    found = await find_windows(sources, wanted, offsets)
                check_found(found, wanted)
                async with engine.connect() as connection:
                    spent = await total_usage(connection, averaged(wanted.project_id, datetime.now(UTC)))
                return await _measured(settings, scanner, wanted, offsets, found, spent)


async def run(settings: Settings, plan: Plan, *, rate_per_s: float | None, quiet: bool) -> int:
    """Send what the plan says, each user's in order, and return how many records the broker has acknowledged.

    It keeps a short way ahead of the agents. Stopped half-way, a new plan goes on from there. Raises RetryLater if the
    broker is away: what came before is sent.
    """
    rate, sent = Rate(rate_per_s), 0
    if plan.forgets:
        sent = await _send_places(settings, plan.wanted.topic, plan.forgets, rate, quiet=quiet)
        await _forgotten(settings, plan.forget_ids)
        # Whatever came after a forget, until now, went with it: in memory, buffered or on its way.
        plan = await make_plan(settings, plan.wanted, quiet=quiet)
    return sent + await _send_places(settings, plan.wanted.topic, plan.places, rate, quiet=quiet)


async def _send_places(
    settings: Settings, topic: str, places: Mapping[int, Sequence[int]], rate: Rate, *, quiet: bool
) -> int:
    topics, sent = Topics(settings.kafka.topic_prefix), 0
    async with (
        topic_scanner(settings.kafka) as scanner,
        topic_scanner(settings.kafka) as watcher,
        producer(settings.kafka) as client,
    ):
        with counting("sending", sum(map(len, places.values())), quiet=quiet) as advance:
            async for some in _batches(read_places(scanner, topic, places)):
                await _room(watcher, topics)
                sent += await _send(settings, client, topics, some)
                advance(len(some))
                await rate.keep(len(some))
    return sent


async def _forgotten(settings: Settings, ledger_ids: Sequence[UUID]) -> None:
    """Wait until these forgets are done."""
    async with open_database(settings.storage) as engine:

        async def waiting() -> int:
            with from_postgres("waiting for forgets"):
                async with engine.connect() as connection:
                    return len(set(ledger_ids).difference(await read_ledger(connection, ledger_ids)))

        await room(waiting, 0, "forgets are not done yet; does a worker run?")


async def read_places(
    scanner: TopicScanner, topic: str, places: Mapping[int, Sequence[int]]
) -> AsyncIterator[RawRecord]:
    """The records at some offsets, partition by partition and in their order; what retention took is left out."""
    for partition, offsets in places.items():
        for run_of in runs_of(offsets):
            wanted = set(run_of)
            async for records in scanner.scan(topic, {partition: run_of[0]}, {partition: run_of[-1] + 1}):
                for record in records:
                    if record.offset in wanted:
                        yield RawRecord.of(record)


async def _measured(
    settings: Settings,
    scanner: TopicScanner,
    wanted: ReplayRange,
    offsets: Offsets,
    found: Found,
    spent: UsageSum,
) -> Plan:
    counter = token_counter(settings.buffer.tokenizer, note)
    count = WindowCount(WindowPolicy.from_settings(settings.buffer), counter)
    is_windows = wanted.topic == Topics(settings.kafka.topic_prefix).extraction_windows
    sent: Counter[Kind] = Counter()
    places: dict[int, list[int]] = {}
    forgets: dict[int, list[int]] = {}
    forget_ids = []
    async for record in read_places(scanner, wanted.topic, _by_partition(found.places)):
        sought = read_window(record, count) if is_windows else read_message(record, count, found)
        if sought is None:
            continue
        sent[sought.kind] += 1
        is_forget = sought.kind == "forget"
        (forgets if is_forget else places).setdefault(record.partition, []).append(record.offset)
        if is_forget:
            forget_ids.append(command_ledger_id_at(sought.first))
    return Plan(
        wanted=wanted,
        offsets=offsets,
        counts=dict(found.counts),
        sent=dict(sent),
        places=places,
        forgets=forgets,
        forget_ids=forget_ids,
        users=len(count.users),
        windows=count.windows,
        tokens=count.tokens,
        expected=expected(count.windows, spent),
    )


def read_message(record: RawRecord, count: WindowCount, found: Found) -> Sought | None:
    """A record of `chat-messages`; None for one that a lost forget covers."""
    try:
        origin = origin_of(record)
        opened = open_value(record.value or b"", record.headers)
        decoded = parse_record(opened.document)
        user, first = (decoded.project_id, decoded.user_id), origin or record.position
        if found.forgets.covers(user, first):
            return None
        if isinstance(decoded, Command):
            return Sought("forget", first)
        unit = unit_of(record, origin, decoded, opened.trace)
    except InvalidRecord:
        # It will be parked, as it should have been.
        return Sought("unreadable", record.position)
    count.add(*user, unit, len(encode_entry(unit)))
    return Sought("message", first)


def read_window(record: RawRecord, count: WindowCount) -> Sought:
    """A record of `extraction-windows`."""
    window = decode_window(record.value or b"")
    if not isinstance(window, Window):
        return Sought("forget", window.origin or window.position)
    count.add_window(window)
    return Sought("window", record.position)


async def _send(settings: Settings, client: AIOKafkaProducer, topics: Topics, records: Sequence[RawRecord]) -> int:
    deliveries = []
    with from_kafka("replaying"):
        for record in records:
            if record.topic == topics.extraction_windows:
                deliveries.append(
                    await client.send(
                        record.topic, record.value, record.key, record.partition, headers=list(record.headers)
                    )
                )
                continue
            again = _again(record)
            if again.size_bytes + HEADER_ROOM_BYTES > 2 * settings.buffer.max_blob_bytes:
                place = f"{record.topic}/{record.partition}/{record.offset}"
                note(f"{place} is too large to be sent with our headers: send it by hand, in parts", style="red")
                continue
            deliveries.append(await client.send(again.topic, again.value, again.key, headers=list(again.headers)))
        for delivery in deliveries:
            await delivery
    return len(deliveries)


def _again(record: RawRecord) -> RawRecord:
    """The record with its origin, and under its user's key, where one can be read."""
    key = record.key
    with suppress(InvalidRecord):
        key = parse_record(open_value(record.value or b"", record.headers).document).user_id.encode()
    return replace(record, key=key, headers=with_origin(record.headers, record.position))


async def _room(watcher: TopicScanner, topics: Topics) -> None:
    for group, topic, limit in (
        (topics.buffer_group, topics.chat_messages, RECORDS_AHEAD),
        (topics.extraction_group, topics.extraction_windows, WINDOWS_AHEAD),
    ):

        async def waiting(group: str = group, topic: str = topic) -> int:
            _, end = await watcher.bounds(topic)
            return await watcher.behind(group, topic, end)

        await room(waiting, limit, f"records of {topic} wait for {group}; does a worker run?")


def _by_partition(places: set[Place]) -> dict[int, list[int]]:
    by_partition: dict[int, list[int]] = {}
    for partition, offset in sorted(places):
        by_partition.setdefault(partition, []).append(offset)
    return by_partition


def runs_of(offsets: Sequence[int]) -> Iterator[list[int]]:
    """Offsets in their order, cut where a gap is not worth reading."""
    run_of: list[int] = []
    for offset in offsets:
        if run_of and offset - run_of[-1] > READ_ALONG_RECORDS:
            yield run_of
            run_of = []
        run_of.append(offset)
    if run_of:
        yield run_of


async def _batches(records: AsyncIterator[RawRecord]) -> AsyncIterator[Sequence[RawRecord]]:
    some: list[RawRecord] = []
    async for record in records:
        some.append(record)
        if len(some) == BATCH:
            yield some
            some = []
    if some:
        yield some
