"""Sends flush commands and waits for their rows in the ledger, for extraction, and for what is held."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import ValidationError
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.batching import batched
from cli.progress import shown
from cli.scanning import TopicScanner, topic_scanner
from schemas.errors import ConfigurationError, MemostreamError
from schemas.identity import derived_uuid
from schemas.records import Command, describe_validation_error
from schemas.settings import Settings
from schemas.windows import WindowCommand
from storage.database import create_engine
from storage.errors import translated
from storage.ledger import CHANNEL, command_ledger_id, read_ledger
from storage.listening import listen
from storage.tables import held_windows
from streams.buffer_reader import read_buffered
from streams.clients import position_of, producer
from streams.clients import translated as kafka_translated
from streams.ingest_sources import source_partitions
from streams.topics import Topics, ensure_topics, partition_for

HELD_POLL_S: Final = 1.0
# A notification may be lost with its connection.
LEDGER_POLL_S: Final = 2.0
NEWS_GATHERED_S: Final = 0.05
LEDGER_BATCH: Final = 5000
SHOW_S: Final = 0.1

User = tuple[str, str]


class TimedOut(MemostreamError):
    """What was waited for did not come in time; the work goes on without us."""


@dataclass(frozen=True, slots=True)
class Flush:
    """How to wait."""

    timeout_s: float
    wait_held: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class FlushReport:
    """How many users had a flush command, and how long it all took."""

    users: int
    seconds: float


class _Stage:
    """What is being waited for, for the progress bar and for the error when time runs out."""

    def __init__(self) -> None:
        self.name = "starting"
        self.total: int | None = None
        self.left = 0

    def begin(self, name: str, total: int | None = None) -> None:
        self.name = name
        self.total = total
        self.left = total or 0

    def update(self, left: int) -> None:
        self.left = left
        self.total = max(self.total or 0, left)


async def flush_user(settings: Settings, project_id: str, user_id: str, options: Flush) -> FlushReport:
    """Flush one user and wait for the command's ledger row: all that the user sent before is finished then."""
    return await _flush(settings, [(project_id, user_id)], options)


async def flush_all(settings: Settings, options: Flush) -> FlushReport:
    """Flush whoever has something buffered, once all is read that is sent now, to the topics of ingest.sources, too.

    Returns when extraction has finished every window that there is then, the held ones only with `wait_held`.
    """
    return await _flush(settings, None, options)


async def _flush(settings: Settings, named: Sequence[User] | None, options: Flush) -> FlushReport:
    started = time.monotonic()
    partitions = await ensure_topics(settings.kafka, settings.buffer)
    topics = Topics(settings.kafka.topic_prefix)
    stage = _Stage()
    engine = create_engine(settings.storage)
    try:
        async with asyncio.timeout(options.timeout_s), _progress(stage, quiet=options.quiet):
            async with topic_scanner(settings.kafka) as scanner:
                users = named if named is not None else await _buffered_users(scanner, settings, topics, stage)
                async with _ledger_news(engine) as news:
                    stage.begin("flushing", len(users))
                    waited = await _send(settings, topics, users, partitions)
                    await _rows_written(engine, news, waited, stage)
                if named is None:
                    stage.begin("waiting for extraction")
                    await scanner.caught_up(topics.extraction_group, topics.extraction_windows, stage.update)
            if options.wait_held:
                stage.begin("waiting for held windows")
                await _nothing_held(engine, named, stage)
    except TimeoutError:
        left = f" ({stage.left:,} left)" if stage.left else ""
        raise TimedOut(
            f"gave up after {options.timeout_s:g} s, {stage.name}{left}; what was sent goes on. "
            "Is a worker running? `memostream audit` shows where every record is"
        ) from None
    finally:
        await engine.dispose()
    return FlushReport(len(users), time.monotonic() - started)


async def _buffered_users(scanner: TopicScanner, settings: Settings, topics: Topics, stage: _Stage) -> Sequence[User]:
    for topic in await source_partitions(settings.kafka, settings.ingest.sources):
        stage.begin(f"waiting for the ingest agent to read {topic}")
        await scanner.caught_up(topics.ingest_group, topic, stage.update)
    stage.begin("waiting for the buffer agent")
    await scanner.caught_up(topics.buffer_group, topics.chat_messages, stage.update)
    stage.begin("reading who has something buffered")
    heads = (await read_buffered(settings.kafka)).heads
    return sorted({(key.project_id, key.user_id) for key in heads})


async def _send(settings: Settings, topics: Topics, users: Sequence[User], partitions: int) -> set[UUID]:
    """Send a flush for each user and return the ids that their ledger rows will have."""
    waited = set()
    async with producer(settings.kafka, linger_ms=5) as client:
        with kafka_translated("sending flush commands"):
            sent = []
            for project_id, user_id in users:
                command = flush_command(project_id, user_id, time.time_ns())
                key = user_id.encode()
                value = command.model_dump_json(exclude_none=True).encode()
                sent_ms = time.time_ns() // 1_000_000
                partition = partition_for(key, partitions)
                future = await client.send(topics.chat_messages, value, key, partition, sent_ms)
                sent.append((command, sent_ms, future))
            for command, sent_ms, future in sent:
                position = position_of(await future, sent_ms)
                on_its_way = WindowCommand(command=command, command_id=str(command.id), position=position)
                waited.add(command_ledger_id(on_its_way))
    return waited


def flush_command(project_id: str, user_id: str, now_ns: int) -> Command:
    """A flush whose id follows from its arguments; raises ConfigurationError for an id that no record can have."""
    identifier = str(derived_uuid("flush", project_id, user_id, now_ns))
    try:
        return Command(command="flush", id=identifier, project_id=project_id, user_id=user_id)
    except ValidationError as error:
        raise ConfigurationError(describe_validation_error(error)) from None


@asynccontextmanager
async def _ledger_news(engine: AsyncEngine) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever a row was written, or may have been while nobody listened."""
    news = asyncio.Event()
    listener = asyncio.create_task(listen(engine, CHANNEL, lambda _: news.set(), news.set))
    try:
        yield news
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener


async def _rows_written(engine: AsyncEngine, news: asyncio.Event, waited: set[UUID], stage: _Stage) -> None:
    left = set(waited)
    while left:
        news.clear()
        with translated("reading the ledger"):
            async with engine.connect() as connection:
                for some in batched(sorted(left), LEDGER_BATCH):
                    left -= set(await read_ledger(connection, some))
        stage.update(len(left))
        if left:
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), LEDGER_POLL_S)
            # Many rows come at once: look once for all of them.
            await asyncio.sleep(NEWS_GATHERED_S)


async def _nothing_held(engine: AsyncEngine, named: Sequence[User] | None, stage: _Stage) -> None:
    while True:
        query = select(func.count()).select_from(held_windows)
        if named is not None:
            query = query.where(tuple_(held_windows.c.project_id, held_windows.c.user_id).in_(named))
        with translated("counting held windows"):
            async with engine.connect() as connection:
                left = int(await connection.scalar(query) or 0)
        stage.update(left)
        if not left:
            return
        await asyncio.sleep(HELD_POLL_S)


@asynccontextmanager
async def _progress(stage: _Stage, *, quiet: bool) -> AsyncIterator[None]:
    with shown(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), quiet=quiet) as bar:
        task = bar.add_task(stage.name, total=None)

        async def show() -> None:
            while True:
                total = stage.total
                bar.update(task, description=stage.name, total=total, completed=(total or 0) - stage.left)
                await asyncio.sleep(SHOW_S)

        shower = asyncio.create_task(show())
        try:
            yield
        finally:
            shower.cancel()
