"""A partition of an input topic that this worker owns: its producer, and batches that it decides and commits."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog
from aiokafka import TopicPartition

from schemas.errors import LeaseLost, MemostreamError, RetryLater
from schemas.settings import BufferSettings
from streams.raw_records import Effects, RawRecord
from streams.transactions import PartitionTransactions

# A batch stops growing at either limit; both bound what a transaction holds in memory.
MAX_BATCH_BYTES = 8 * (1 << 20)
# A batch that sends more is committed in parts: what is cut or mapped may take many times what was read.
MAX_SENT_BYTES = 16 * (1 << 20)
# How often an owner looks after what needs no record.
CHECK_S = 0.25
# On a busy partition a batch gathers records for this long at most.
MAX_GATHER_S = 0.05
# The other roles of the process run on the same loop.
MAX_BUSY_S = 0.05
# A record of this size is decided in a thread: counting the tokens of 1 MiB takes longer than heartbeats may wait.
LARGE_RECORD_BYTES = 64 * 1024

# What is queued in front of an owner, above which its partition is not read on.
MAX_QUEUED_BATCHES = 2

OnLost = Callable[[TopicPartition, MemostreamError], None]
OnFatal = Callable[[BaseException], None]

log = structlog.get_logger()


class Flow(Protocol):
    """What brings the records of partitions, and can hold some of them back."""

    def pause(self, place: TopicPartition) -> None: ...

    def resume(self, place: TopicPartition) -> None: ...


class PartitionOwner(ABC):
    """Between `open` and `abandon` it alone decides this partition; after any failure it is of no more use.

    `put` feeds it records in the partition's order. `on_lost` is called once when it can no longer commit, `on_fatal`
    for anything unexpected.
    """

    _flow: Flow

    def __init__(
        self,
        place: TopicPartition,
        settings: BufferSettings,
        transactions: PartitionTransactions,
        on_lost: OnLost,
        on_fatal: OnFatal,
    ) -> None:
        self.place = place
        self._settings = settings
        self._transactions = transactions
        self._on_lost = on_lost
        self._on_fatal = on_fatal
        self._queue: asyncio.Queue[RawRecord] = asyncio.Queue()
        self._queued_bytes = 0
        self._is_paused = False
        self._next_offset = 0
        self._decided_offset: int | None = None
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    def _decide(self, record: RawRecord, effects: Effects) -> None:
        """What one record changes and sends."""

    @abstractmethod
    async def _commit(self, effects: Effects, next_offset: int | None) -> None:
        """Commit what was decided, with the partition's next offset unless that is None."""

    @abstractmethod
    async def _check(self, now_ms: int) -> None:
        """Look after what needs no record; called between batches."""

    async def open(self) -> None:
        """Fence former owners, and only then load any state; raises RetryLater while the broker is away."""
        await self._transactions.open()

    def start(self, flow: Flow) -> None:
        """Begin to work on what `put` brings; `flow` is told when that is too much, and when there is room again."""
        self._flow = flow
        self._task = asyncio.create_task(self._run(), name=f"{self.place.topic}-{self.place.partition}")

    def put(self, records: Iterable[RawRecord]) -> None:
        """Queue records. More than a few batches of them pause the partition, so a fetch is the most that is above."""
        for record in records:
            self._queue.put_nowait(record)
            self._queued_bytes += len(record.value or b"")
        if not self._is_paused and self._is_above(MAX_QUEUED_BATCHES):
            self._is_paused = True
            self._flow.pause(self.place)

    def behind(self, last_fetched: int | None) -> int:
        """Records that were fetched and are not committed; gaps between offsets count."""
        if self._decided_offset is None:
            return self._queue.qsize() + bool(self._next_offset)
        return max(0, (-1 if last_fetched is None else last_fetched) + 1 - self._decided_offset)

    def abandon(self) -> None:
        """Drop batch and overlay at once; what was not committed is read again by the next owner."""
        if self._task is not None:
            self._task.cancel()
        self._queue = asyncio.Queue()

    async def release_store(self) -> None:
        """After `abandon`: let go of any local copy, so that the next owner can open it."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Stop the producer, which may take a while when the broker is away."""
        await self._transactions.close()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_check_s = 0.0
        try:
            while True:
                records = await self._gather()
                if records:
                    await self._process(records)
                if loop.time() >= next_check_s:
                    # While records come, the log's own time counts: a user who looks idle may be further up in it.
                    await self._check(min(now_ms(), records[-1].timestamp_ms) if records else now_ms())
                    next_check_s = loop.time() + CHECK_S
        except (LeaseLost, RetryLater) as error:
            self._on_lost(self.place, error)
        except asyncio.CancelledError:
            raise
        # The worker ends with what nobody expected, before anything later is acknowledged.
        except BaseException as error:  # noqa: BLE001
            self._on_fatal(error)

    async def _gather(self) -> list[RawRecord]:
        """A batch: what is queued, and what comes within the linger time; empty when nothing came for a while."""
        try:
            async with asyncio.timeout(CHECK_S):
                records = [await self._queue.get()]
        except TimeoutError:
            return []
        size_bytes = self._drain(records, self._taken(records[0]))
        loop = asyncio.get_running_loop()
        until_s = loop.time() + MAX_GATHER_S
        # A lone record waits for one linger; while more keep coming, fewer and larger transactions do more.
        while self._has_room(records, size_bytes) and loop.time() < until_s:
            before = len(records)
            await asyncio.sleep(self._settings.transaction_linger_s)
            size_bytes = self._drain(records, size_bytes)
            if len(records) == before:
                break
        return records

    def _has_room(self, records: list[RawRecord], size_bytes: int) -> bool:
        return len(records) < self._settings.transaction_max_records and size_bytes < MAX_BATCH_BYTES

    def _drain(self, records: list[RawRecord], size_bytes: int) -> int:
        while not self._queue.empty() and self._has_room(records, size_bytes):
            record = self._queue.get_nowait()
            records.append(record)
            size_bytes += self._taken(record)
        if self._is_paused and not self._is_above(1):
            self._is_paused = False
            self._flow.resume(self.place)
        return size_bytes

    def _taken(self, record: RawRecord) -> int:
        size_bytes = len(record.value or b"")
        self._queued_bytes -= size_bytes
        return size_bytes

    def _is_above(self, batches: int) -> bool:
        is_long = self._queue.qsize() > batches * self._settings.transaction_max_records
        return is_long or self._queued_bytes > batches * MAX_BATCH_BYTES

    async def _process(self, records: list[RawRecord]) -> None:
        effects = Effects()
        sent_bytes = 0
        loop = asyncio.get_running_loop()
        pause_at_s = loop.time() + MAX_BUSY_S
        for record in records:
            # Only a fetch from before a seek can bring an offset twice.
            if record.offset < self._next_offset:
                continue
            before = len(effects.outgoing)
            if len(record.value or b"") < LARGE_RECORD_BYTES:
                self._decide(record, effects)
            else:
                # Alone all the while: nobody but this task changes the overlay, and it waits.
                await asyncio.to_thread(self._decide, record, effects)
            effects.counts["records"] += 1
            self._next_offset = record.offset + 1
            sent_bytes += sum(len(outgoing.value) for outgoing in effects.outgoing[before:])
            if sent_bytes > MAX_SENT_BYTES:
                await self._commit(effects, self._next_offset)
                self._decided_offset = self._next_offset
                effects, sent_bytes = Effects(), 0
            if loop.time() > pause_at_s:
                await asyncio.sleep(0)
                pause_at_s = loop.time() + MAX_BUSY_S
        await self._commit(effects, self._next_offset)
        self._decided_offset = self._next_offset


def now_ms() -> int:
    return int(time.time() * 1000)
