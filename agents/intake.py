"""From the stream of extraction-windows to the users' queues, and from finished records to committed offsets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Final, Protocol

import structlog
from aiokafka import TopicPartition

from agents.dependencies import ExtractionDeps
from agents.holds import HoldTimer
from agents.settling import Settler
from agents.user_queues import BatchLimits, Delivery, QueueLimits, UserQueues
from schemas.windows import Position, decode_window
from streams.stopping import FAREWELL_S
from streams.tracker import Partition, PrefixTracker

# Who has large windows takes no larger share of what is decoded.
USERS_AT_LEAST: Final = 8

log = structlog.get_logger()

CommitOffsets = Callable[[Mapping[Partition, int]], Awaitable[bool]]


class Record(Protocol):
    """A message as Faust reads it; the timestamp is in seconds."""

    topic: str
    partition: int
    offset: int
    timestamp: float
    value: bytes


class Intake:
    """Reads, orders, and commits the next offsets of what is finished with everything before it.

    `commit_offsets` says whether the broker took them. After an error that nobody expected nothing more is committed.
    """

    def __init__(self, deps: ExtractionDeps, commit_offsets: CommitOffsets) -> None:
        self._deps = deps
        self._commit_offsets = commit_offsets
        self._tracker = PrefixTracker()
        self._settler = Settler(deps)
        self._queues = UserQueues(
            self._settle,
            self._finished,
            self._fail,
            QueueLimits(
                records=deps.extraction.max_pending_windows,
                records_per_user=deps.extraction.max_pending_windows_per_user,
                bytes=deps.extraction.max_pending_bytes,
                bytes_per_user=deps.extraction.max_pending_bytes // USERS_AT_LEAST,
                batch=BatchLimits.of(deps.buffer),
                surplus_bytes=deps.extraction.max_surplus_bytes,
            ),
        )
        self._holds = HoldTimer(deps, self._settler, self._fail)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed = False
        self._stopping = False
        # Records that came to their end, of all partitions since the start.
        self.finished = 0

    @property
    def pending(self) -> int:
        """Records read and not finished."""
        return self._queues.size

    @property
    def is_waiting(self) -> bool:
        """Whether a user waits for an endpoint, for Postgres or for a budget, or is at the model now."""
        return self._settler.waits.count > 0

    def behind(self, place: TopicPartition, last_fetched: int | None) -> int:
        """Records of a partition that were fetched and are not finished, or stand behind one that is not."""
        partition = (place.topic, place.partition)
        next_offset = self._tracker.next_offset(partition)
        if next_offset is None or last_fetched is None:
            return self._tracker.open_records(partition)
        return max(0, last_fetched + 1 - next_offset)

    async def run(self, records: AsyncIterator[Record]) -> None:
        """Read until cancelled, also after an error: Faust would restart an agent that ends, past the error."""
        if not self._tasks:
            self._start(self._commit_forever())
            # A shadow holds nobody, and live holds are no business of its workers.
            if self._deps.shadow is None:
                self._start(self._holds.run())
        reader = self._start(self._read(records))
        try:
            await asyncio.Event().wait()
        finally:
            reader.cancel()

    async def revoked(self, partitions: Iterable[Partition]) -> None:
        """Partitions go to another worker: commit what is finished, forget the rest."""
        await self.commit()
        self._tracker.drop(partitions)
        self._queues.drop(partitions)

    async def stop(self) -> None:
        """Read no more, let what runs finish, commit, and hand the rest back by not committing it."""
        self._stopping = True
        self._settler.stop()
        timeout_s = self._deps.worker.shutdown_timeout_s
        left, _ = await asyncio.gather(self._queues.drain(timeout_s), self._holds.stop(timeout_s))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            # A commit waits for a broker that is away, for ever; what it would skip is found applied.
            async with asyncio.timeout(FAREWELL_S):
                await self.commit()
        except TimeoutError:
            log.warning("extraction.not_committed")
        log.info("extraction.stopped", handed_back=left)

    async def commit(self) -> None:
        """Commit the next offsets of partitions that moved on."""
        offsets = self._tracker.committable()
        if offsets and not self._failed and await self._commit_offsets(offsets):
            self._tracker.committed(offsets)

    async def _read(self, records: AsyncIterator[Record]) -> None:
        shadow = self._deps.shadow
        async for record in records:
            if shadow is not None:
                await shadow.pace()
            if self._failed or self._stopping:
                return
            await self._take(record)

    async def _take(self, record: Record) -> None:
        partition = (record.topic, record.partition)
        generation = self._tracker.generation(partition)
        window = decode_window(record.value)
        await self._queues.room_for((window.project_id, window.user_id), len(record.value))
        # Revoked while it waited for room: somebody else reads it.
        if self._tracker.generation(partition) != generation or self._stopping:
            return
        ticket = self._tracker.opened(partition, record.offset)
        if ticket is not None:
            position = Position(
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                timestamp_ms=round(record.timestamp * 1000),
            )
            self._queues.add(Delivery(ticket, window, position, len(record.value)), record.value)

    async def _settle(self, batch: Sequence[Delivery], full: asyncio.Event) -> bool:
        records = [(delivery.record, delivery.position) for delivery in batch]

        def is_ours() -> bool:
            return any(self._tracker.is_current(delivery.ticket) for delivery in batch)

        return await self._settler.settle(batch[0].user, records, is_ours, full)

    def _finished(self, batch: Sequence[Delivery]) -> None:
        self.finished += len(batch)
        for delivery in batch:
            self._tracker.finished(delivery.ticket)

    async def _commit_forever(self) -> None:
        while True:
            await asyncio.sleep(self._deps.commit_interval_s)
            await self.commit()

    def _start(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.add(task)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failed:
            self._failed = True
            self._deps.fatal(error)
