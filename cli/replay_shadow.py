"""Replays a range of a topic into a shadow: what it would take, how one is made, and how a process works for one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from aiokafka import TopicPartition
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.console import note
from cli.databases import open_database
from cli.progress import counting
from cli.replay_costs import Expected, WindowCount, averaged, check_spent, expected
from cli.replay_finding import nothing_of
from cli.replay_range import Offsets, ReplayRange, offsets_of
from cli.scanning import topic_scanner
from cli.up import work
from extraction.factory import create_extractor
from schemas.envelope import open_value
from schemas.errors import ConfigurationError, InvalidRecord
from schemas.memory import ExtractorIdentity
from schemas.policies import policy_of
from schemas.records import Command, parse_record
from schemas.settings import Settings
from schemas.tokens import token_counter
from schemas.windows import Window, decode_window
from storage.errors import translated as from_postgres
from storage.migrate import check_embeddings
from storage.shadows import NewShadow, Shadow, Source, create_shadow, read_shadow, set_max_cost, set_state
from storage.usage import shadow_cost, total_usage
from streams.blob_records import unit_of
from streams.buffer_codec import encode_entry
from streams.clients import consumer, translated
from streams.raw_records import RawRecord, origin_of
from streams.shadow_running import RunningShadow, topics_of, user_filter
from streams.shadow_topics import shadow_declarations
from streams.stopping import Parts
from streams.topics import Topics, check_partitions, ensure_declared
from streams.windowing import WindowPolicy

# Its buffer is loaded from its changelog, so that nothing of it is left on a disk.
_IN_MEMORY: Final = {"store": "memory"}


@dataclass(frozen=True, slots=True)
class ShadowPlan:
    """What a range holds that a shadow would be made from; `follows` says that it goes on with what comes later."""

    wanted: ReplayRange
    offsets: Offsets
    follows: bool
    messages: int
    users: int
    windows: int
    tokens: int
    expected: Expected


async def plan_shadow(settings: Settings, wanted: ReplayRange, *, quiet: bool) -> ShadowPlan:
    """Read the range and count.

    Raises ConfigurationError as `offsets_of` does, and where topics do not fit together, NotFound where nothing in it
    is of whom it is limited to, and RetryLater if the broker or Postgres is away.
    """
    topics = Topics(settings.kafka.topic_prefix)
    count = WindowCount(WindowPolicy.from_settings(settings.buffer), token_counter(settings.buffer.tokenizer, note))
    await check_partitions(settings.kafka, settings.buffer)
    async with topic_scanner(settings.kafka) as scanner:
        offsets = await offsets_of(scanner, wanted)
        is_windows = wanted.topic == topics.extraction_windows
        with counting("reading", len(offsets), quiet=quiet) as advance:
            async for records in scanner.scan(wanted.topic, offsets.begin, offsets.end):
                for record in records:
                    _count(RawRecord.of(record), wanted, count, is_windows=is_windows)
                advance(len(records))
    if not count.users and not wanted.is_everybody:
        raise nothing_of(wanted)
    async with _engine(settings) as engine, engine.connect() as connection:
        spent = await total_usage(connection, averaged(wanted.project_id, datetime.now(UTC)))
    return ShadowPlan(
        wanted=wanted,
        offsets=offsets,
        follows=wanted.end.time_ms is None and wanted.end.offset is None,
        messages=count.messages,
        users=len(count.users),
        windows=count.windows,
        tokens=count.tokens,
        expected=expected(count.windows, spent),
    )


async def find_shadow(settings: Settings, name: str) -> Shadow | None:
    """The shadow of that name on these topics.

    Raises ConfigurationError for a database that no worker with these settings could start on.
    """
    model = settings.embedding_model if settings.embedding.enabled else None
    async with _engine(settings) as engine, engine.connect() as connection:
        await check_embeddings(connection, settings.embedding_dimension, model)
        return await read_shadow(connection, settings.kafka.topic_prefix, name)


async def make_shadow(settings: Settings, name: str, plan: ShadowPlan, max_cost: Decimal | None) -> Shadow:
    """Make a shadow from the plan, or finish one whose making was cut short.

    Raises ConfigurationError where there is one of that name meanwhile that is more than begun.
    """
    wanted = plan.wanted
    prefix = settings.kafka.topic_prefix
    source: Source = "chat-messages" if wanted.topic == Topics(prefix).chat_messages else "extraction-windows"
    new = NewShadow(
        name=name,
        topic_prefix=prefix,
        source=source,
        begin_offsets=plan.offsets.begin,
        end_offsets=None if plan.follows else plan.offsets.end,
        of_project=wanted.project_id,
        of_user_hash=None if wanted.user_id is None else user_filter(wanted.user_id),
        max_cost=max_cost,
        extractor=await identity_of(settings),
    )
    async with _engine(settings) as engine:
        async with engine.begin() as connection:
            await create_shadow(connection, new, datetime.now(UTC))
            shadow = await read_shadow(connection, prefix, name)
        if shadow is None or shadow.state != "creating":
            raise ConfigurationError(f"there is a shadow {name} already: choose another name, or discard it first")
        await _prepare_kafka(settings, shadow)
        async with engine.begin() as connection:
            await set_state(connection, shadow.generation, "running")
            found = await read_shadow(connection, prefix, name)
    if found is None:
        raise ConfigurationError(f"shadow {name} was discarded while it was made")
    return found


async def allow_cost(settings: Settings, shadow: Shadow, max_cost: Decimal) -> None:
    """Let a shadow cost so much in all; raises ConfigurationError where it has cost that already."""
    async with _engine(settings) as engine, engine.begin() as connection:
        check_spent(await shadow_cost(connection, shadow.generation), max_cost, settings.prices.currency)
        await set_max_cost(connection, shadow.generation, max_cost)


async def identity_of(settings: Settings) -> ExtractorIdentity:
    """Of the extractor that these settings make, with the server's policy."""
    extractor = create_extractor(settings)
    try:
        return extractor.identity(policy_of(settings))
    finally:
        await extractor.close()


async def work_for(
    settings: Settings, shadow: Shadow, rate_per_s: float | None, stop: asyncio.Event, parts: Parts
) -> int:
    """A worker of the shadow until `stop`, or until the shadow is promoted or discarded; returns its exit code."""
    roles = {"buffer", "extraction"} if shadow.source == "chat-messages" else {"extraction"}
    own = settings.model_copy(update={"buffer": settings.buffer.model_copy(update=_IN_MEMORY)})
    return await work(own, frozenset(roles), stop, parts, RunningShadow(shadow, rate_per_s))


def _count(record: RawRecord, wanted: ReplayRange, count: WindowCount, *, is_windows: bool) -> None:
    if record.value is None:
        return
    if is_windows:
        window = decode_window(record.value)
        if isinstance(window, Window) and wanted.takes(window.project_id, window.user_id):
            count.add_window(window)
        return
    try:
        opened = open_value(record.value, record.headers)
        decoded = parse_record(opened.document)
        if isinstance(decoded, Command) or not wanted.takes(decoded.project_id, decoded.user_id):
            return
        unit = unit_of(record, origin_of(record), decoded, opened.trace)
    except InvalidRecord:
        # It is parked, in live memory.
        return
    count.add(decoded.project_id, decoded.user_id, unit, len(encode_entry(unit)))


async def _prepare_kafka(settings: Settings, shadow: Shadow) -> None:
    """Its topics, and the offsets that its groups begin at."""
    topics = topics_of(shadow)
    source, group = topics.source, topics.groups[0]
    async with topic_scanner(settings.kafka) as scanner:
        _, ends = await scanner.bounds(source)
    await ensure_declared(settings.kafka, shadow_declarations(settings.kafka, settings.buffer, topics, len(ends)))
    # What is not read at all is passed over once.
    offsets = {TopicPartition(source, number): shadow.begin_offsets.get(number, end) for number, end in ends.items()}
    async with consumer(settings.kafka, group_id=group) as client:
        with translated(f"committing the first offsets of group {group}"):
            client.assign(list(offsets))
            await client.commit(offsets)


@asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    async with open_database(settings.storage) as engine:
        with from_postgres("working on a shadow"):
            yield engine
