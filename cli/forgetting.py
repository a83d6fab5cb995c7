"""Forgets a user for `memostream forget`: looks what there is, sends and does it, and waits for every stage."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiohttp
from aiokafka import AIOKafkaProducer
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from cli.console import note
from cli.databases import open_database
from cli.erasure_rules import compacted_topics, held_elsewhere, retained_topics
from cli.scanning import RETRY_S, SILENCE_S, TopicScanner, topic_scanner
from schemas.buffer_views import BufferView
from schemas.erasure import BufferReport, ErasureReport, StageReport, TableReport
from schemas.errors import NotFound, RetryLater
from schemas.records import Command
from schemas.settings import Settings
from schemas.windows import Position, Window, WindowCommand
from storage.commands import has_arrived
from storage.errors import translated
from storage.forget_now import Forgetting, forget_command, forget_now
from storage.forgetting import count_rows
from storage.ledger import read_ledger
from storage.reading import read_cut_off, user_hash
from storage.shadows import Shadow, read_shadows
from storage.tables import outbox
from storage.units import ForgetCutOff
from storage.workers import read_workers
from streams.buffer_queries import HttpAsker, NoAnswer
from streams.buffer_reader import read_buffered
from streams.buffer_service import Question
from streams.clients import admin, position_of, producer
from streams.clients import translated as from_kafka
from streams.offsets import end_offsets
from streams.shadow_running import topics_of
from streams.topics import Topics, ensure_topics, existing_names, partition_for, topic_settings
from streams.unfinished_windows import read_unfinished

POLL_S: Final = 0.25
# What is said once it has waited so long: perhaps no worker runs.
PATIENCE_S: Final = 10.0
WINDOWS_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Forget:
    """What to do: `force` forgets also whom nobody knows, for the sake of what topics hold."""

    execute: bool
    timeout_s: float
    force: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What there is of a user; `blobs` are buffered, `windows` not finished, without those that a forget covers."""

    rows: Mapping[str, int]
    blobs: int
    windows: int
    cut_off: ForgetCutOff | None

    @property
    def is_unknown(self) -> bool:
        return self.cut_off is None and not any((*self.rows.values(), self.blobs, self.windows))

    @property
    def is_forgotten(self) -> bool:
        """Whether nothing came after the last forget; its tombstone may be still to be published."""
        rows = sum(count for name, count in self.rows.items() if name != outbox.name)
        return self.cut_off is not None and not any((rows, self.blobs, self.windows))


_MISSING: Final = {
    "buffer": "no worker with the role buffer has come to it, or has cleaned its copy on disk: does one run, and can "
    "its worker.internal_url be reached from here?",
    "extraction": "no worker with the role extraction has come to it: does one run?",
    "relay": "rows of the user wait to be published: does a worker with the role relay run?",
    "shadows": "a shadow has not come to it: run a worker of each that `memostream replay status` lists, or discard it",
}


async def forget_user(settings: Settings, project_id: str, user_id: str, options: Forget) -> ErasureReport:
    """The report on what was done, or would be without `execute`.

    Raises NotFound for a user of whom nothing is known, unless forced, ConfigurationError for an id that no record can
    have, and RetryLater if the broker or Postgres is away: what was sent is done by a worker. Repeated, it finishes
    what is left.
    """
    forget_command(project_id, user_id, uuid.uuid4())
    async with open_database(settings.storage) as engine:
        known = await look(settings, engine, project_id, user_id)
        if known.is_unknown and not options.force:
            raise NotFound(
                f"nothing is known of {user_id} in project {project_id}: check the id and --project; --force forgets "
                "whoever it is, so that nothing of what the topics hold is ever applied"
            )
        done: WindowCommand | None = None
        missing: Mapping[str, str] = {}
        if options.execute:
            if not known.is_forgotten:
                done = await _forget(settings, engine, project_id, user_id)
            missing = await _followed(settings, engine, (project_id, user_id), done, known.cut_off, options.timeout_s)
        return await _report(settings, engine, (project_id, user_id), known, done, missing, options)


async def look(settings: Settings, engine: AsyncEngine, project_id: str, user_id: str) -> Known:
    """What there is of a user now, in Postgres and on its way there."""
    # First the buffer, then what it becomes: nothing slips through between them.
    async with admin(settings.kafka) as client:
        has_changelog = await existing_names(client, [Topics(settings.kafka.topic_prefix).buffer_changelog])
    buffered = (await read_buffered(settings.kafka, user_id)).blobs if has_changelog else []
    windows = await _unfinished(settings, project_id, user_id)
    with translated("looking for a user"):
        async with engine.connect() as connection:
            rows = await count_rows(connection, project_id, user_id)
            cut_off = await read_cut_off(connection, project_id, user_id)
            finished = await read_ledger(connection, [window.window_id for window in windows])
    blobs = [blob for blob in buffered if (blob.key.project_id, blob.key.user_id) == (project_id, user_id)]

    def is_gone(position: Position) -> bool:
        return cut_off is not None and cut_off.covers(position)

    return Known(
        rows=rows,
        # Also what a forget covers: a buffer that has not come to it still holds that.
        blobs=len(blobs),
        windows=sum(
            window.window_id not in finished and not all(is_gone(unit.first_position) for unit in window.units)
            for window in windows
        ),
        cut_off=cut_off,
    )


async def _unfinished(settings: Settings, project_id: str, user_id: str) -> Sequence[Window]:
    """Waits for the group's coordinator, which a new broker has to elect first."""
    deadline_s = time.monotonic() + SILENCE_S
    while True:
        try:
            return await read_unfinished(settings.kafka, project_id, user_id, timeout_s=WINDOWS_TIMEOUT_S)
        except RetryLater:
            if time.monotonic() > deadline_s:
                raise
        await asyncio.sleep(RETRY_S)


async def _forget(settings: Settings, engine: AsyncEngine, project_id: str, user_id: str) -> WindowCommand:
    topics = Topics(settings.kafka.topic_prefix)
    sources = [source.topic for source in settings.ingest.sources]

    @asynccontextmanager
    async def transaction() -> AsyncIterator[AsyncConnection]:
        with translated("forgetting a user"):
            async with engine.begin() as connection:
                yield connection

    partitions = await ensure_topics(settings.kafka, settings.buffer)
    async with producer(settings.kafka) as client:
        parts = Forgetting(
            log=_ProducerLog(client, topics.chat_messages, partitions),
            end_offsets=lambda: end_offsets(settings.kafka, topics.chat_messages, *sources),
            transaction=transaction,
            now=lambda: datetime.now(UTC),
            new_id=uuid.uuid4,
        )
        return await forget_now(parts, project_id, user_id)


@dataclass(frozen=True, slots=True)
class _ProducerLog:
    client: AIOKafkaProducer
    topic: str
    partitions: int

    async def send_command(self, command: Command) -> Position:
        key = command.user_id.encode()
        value = command.model_dump_json(exclude_none=True).encode()
        sent_ms = time.time_ns() // 1_000_000
        with from_kafka("sending a forget"):
            sent = await self.client.send(self.topic, value, key, partition_for(key, self.partitions), sent_ms)
            return position_of(await sent, sent_ms)


async def _followed(
    settings: Settings,
    engine: AsyncEngine,
    user: tuple[str, str],
    command: WindowCommand | None,
    former: ForgetCutOff | None,
    timeout_s: float,
) -> Mapping[str, str]:
    """Wait until every stage has done its part; returns those that have not, with what may be the matter.

    Without a command it is the `former` forget that they may not have come to.
    """
    project_id, user_id = user
    past = None if command is None else command.position
    question = Question(
        project_id=project_id, user_id=user_id, past=None if past is None else past.offset, wait_s=POLL_S
    )
    topic = Topics(settings.kafka.topic_prefix).chat_messages
    ends = _ends_of_user(former, topic, user_id) if past is None else {past.partition: past.offset + 1}

    async def buffer_is_clean() -> bool:
        view = await _ask_owner(engine, settings.kafka.topic_prefix, question)
        return view is not None and view.is_purged and (past is None or view.has_passed(past))

    async def extraction_has_come() -> bool:
        async with engine.connect() as connection:
            return command is None or await has_arrived(connection, command)

    async def all_is_published() -> bool:
        query = select(func.count()).where(outbox.c.project_id == project_id, outbox.c.user_id == user_id)
        async with engine.connect() as connection:
            return not await connection.scalar(query)

    async def shadows_have_come() -> bool:
        # Asked for each time: one that is discarded meanwhile comes to nothing any more.
        shadows = await _shadows(settings, engine)
        async with topic_scanner(settings.kafka) as scanner:
            return all([await _has_passed(scanner, shadow, ends) for shadow in shadows])

    stages = {"buffer": buffer_is_clean, "extraction": extraction_has_come, "relay": all_is_published}
    if await _shadows(settings, engine):
        stages["shadows"] = shadows_have_come
    left = {name: _MISSING[name] for name in stages}
    try:
        async with asyncio.timeout(timeout_s):
            with translated("waiting for a forget"):
                for name, is_done in stages.items():
                    await _until(is_done, f"waiting for {name}: {_MISSING[name]}")
                    del left[name]
    except TimeoutError:
        return left
    return left


async def _shadows(settings: Settings, engine: AsyncEngine) -> Sequence[Shadow]:
    with translated("looking for shadows"):
        async with engine.connect() as connection:
            return await read_shadows(connection, settings.kafka.topic_prefix)


def _ends_of_user(cut_off: ForgetCutOff | None, topic: str, user_id: str) -> Mapping[int, int]:
    """Before which offset lies what a forget covers, on the user's partition of a topic."""
    ends = {} if cut_off is None else {number: end for (name, number), end in cut_off.offsets.items() if name == topic}
    own = partition_for(user_id.encode(), len(ends)) if ends else None
    return {number: end for number, end in ends.items() if number == own}


async def _has_passed(scanner: TopicScanner, shadow: Shadow, ends: Mapping[int, int]) -> bool:
    """Whether a shadow that buffers has read what lies before these offsets."""
    read = {number: end for number, end in ends.items() if number in shadow.begin_offsets}
    if shadow.source != "chat-messages" or not read:
        return True
    topics = topics_of(shadow)
    return not await scanner.behind(topics.buffer_group, topics.chat_messages, read)


async def _ask_owner(engine: AsyncEngine, topic_prefix: str, question: Question) -> BufferView | None:
    """The answer of the worker that owns the user's partition; None where none answers that it does."""
    async with engine.connect() as connection:
        workers = [worker for worker in await read_workers(connection, topic_prefix) if worker.url and worker.token]
    async with aiohttp.ClientSession() as session:
        ask = HttpAsker(session)
        for worker in workers:
            try:
                answer = await ask(worker, question)
            except NoAnswer:
                continue
            if answer.view is not None:
                return answer.view
    return None


async def _until(is_done: Callable[[], Awaitable[bool]], what: str) -> None:
    loop = asyncio.get_running_loop()
    speaks_at_s = loop.time() + PATIENCE_S
    while not await is_done():
        if loop.time() > speaks_at_s:
            note(what)
            speaks_at_s = float("inf")
        await asyncio.sleep(POLL_S)


async def _report(
    settings: Settings,
    engine: AsyncEngine,
    user: tuple[str, str],
    known: Known,
    done: WindowCommand | None,
    missing: Mapping[str, str],
    options: Forget,
) -> ErasureReport:
    now = datetime.now(UTC)
    left, cut_off = known.rows, known.cut_off
    if options.execute:
        with translated("looking for a user"):
            async with engine.connect() as connection:
                left = await count_rows(connection, *user)
                cut_off = await read_cut_off(connection, *user)
    topics = Topics(settings.kafka.topic_prefix)
    shadows = [topics_of(shadow) for shadow in await _shadows(settings, engine)]
    async with admin(settings.kafka) as client:
        named = await existing_names(
            client,
            [
                topics.chat_messages,
                topics.extraction_windows,
                topics.dead_letters,
                topics.profile_updated,
                topics.event_updated,
                topics.profiles,
                topics.buffer_changelog,
                *(name for shadow in shadows for name in shadow.own),
            ],
        )
        configs = await topic_settings(client, named)
    # What was forgotten before, and had nothing since, was written before that.
    since = cut_off.forgotten_at if options.execute and done is None and cut_off is not None else now
    return ErasureReport(
        project_id=user[0],
        user_id=user[1],
        user_hash=user_hash(*user),
        created_at=now,
        is_executed=options.execute,
        is_complete=options.execute and not missing,
        command=None if done is None else done.position,
        forgotten_at=None if cut_off is None else cut_off.forgotten_at,
        stages=_stages(missing, options),
        tables=tuple(
            TableReport(table=name, found=count, left=left[name]) for name, count in sorted(known.rows.items())
        ),
        buffer=BufferReport(blobs=known.blobs, windows=known.windows),
        compacted=compacted_topics(topics, shadows, configs, since),
        retained=retained_topics(settings.kafka.topic_prefix, shadows, configs, since),
        elsewhere=held_elsewhere(settings),
    )


def _stages(missing: Mapping[str, str], options: Forget) -> tuple[StageReport, ...]:
    if not options.execute:
        return ()
    return (
        StageReport(stage="database", is_done=True),
        *(
            StageReport(stage=stage, is_done=stage not in missing, detail=missing.get(stage))
            for stage in ("buffer", "extraction", "relay", "shadows")
        ),
    )
