"""A partition of `chat-messages` that this worker owns: its producer, its state, its batches and its tails."""

import asyncio
import heapq
import time
from collections.abc import Callable

import structlog
from aiokafka import TopicPartition

from schemas.errors import LeaseLost, MemostreamError, RetryLater
from schemas.identity import derived_uuid
from schemas.records import Command
from schemas.settings import BufferSettings, KafkaSettings
from streams.buffer_codec import HeadKey
from streams.buffer_state import PartitionState
from streams.buffer_store import PartitionStore
from streams.buffering import BufferContext, handle
from streams.clients import consumer, translated
from streams.raw_records import Effects, Outgoing, RawRecord
from streams.topics import Topics
from streams.transactions import BufferTransactions
from streams.windowing import tail_deadline_ms

# A batch stops growing at either limit; both bound what a transaction holds in memory.
MAX_BATCH_BYTES = 8 * (1 << 20)
# A batch that sends more is committed in parts: pieces that repeat their blob's fields take many times what was read.
MAX_SENT_BYTES = 16 * (1 << 20)
TAIL_CHECK_S = 0.25
# On a busy partition a batch gathers records for this long at most.
MAX_GATHER_S = 0.05
# Tails of one check go into one transaction.
MAX_TAILS_PER_CHECK = 500

log = structlog.get_logger()


class PartitionOwner:
    """Between `open` and `abandon` it alone decides this partition; after any failure it is of no more use.

    `put` feeds it records in the partition's order. `on_lost` is called once when it can no longer commit, `on_fatal`
    for anything unexpected.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: BufferSettings,
        context: BufferContext,
        store: PartitionStore,
        on_lost: Callable[[int, MemostreamError], None],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._context = context
        self._store = store
        self._on_lost = on_lost
        self._on_fatal = on_fatal
        self._topics = Topics(kafka.topic_prefix)
        self._transactions = BufferTransactions(kafka, self._topics, context.partition)
        self._queue: asyncio.Queue[RawRecord] = asyncio.Queue(settings.transaction_max_records)
        self._state: PartitionState | None = None
        self._deadlines: list[tuple[int, HeadKey, str]] = []
        self._queued_keys: set[HeadKey] = set()
        self._flush_sent: dict[HeadKey, str] = {}
        self._next_offset = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def partition(self) -> int:
        return self._context.partition

    async def open(self) -> None:
        """Fence former owners, then load the state; raises RetryLater while the broker is away."""
        await self._transactions.open()
        await self._catch_up()
        self._state = PartitionState(self._store)
        now_ms = _now_ms()
        for key in self._state.heads:
            self._watch(key, now_ms)
        log.info("buffer.partition_opened", partition=self.partition, heads=len(self._state.heads))

    def start(self) -> None:
        """Begin to work on what `put` brings."""
        self._task = asyncio.create_task(self._run(), name=f"buffer-{self.partition}")

    async def put(self, record: RawRecord) -> None:
        """Queue a record; waits while the queue is full, which holds the partition's fetching back."""
        await self._queue.put(record)

    def abandon(self) -> None:
        """Drop batch and overlay at once; what was not committed is read again by the next owner."""
        if self._task is not None:
            self._task.cancel()
        self._state = None
        # Whoever waits in `put` must not wait for ever.
        while not self._queue.empty():
            self._queue.get_nowait()

    async def release_store(self) -> None:
        """After `abandon`: let go of the local copy, so that the next owner can open it."""
        if self._task is not None:
            await asyncio.wait([self._task])
        self._store.close()

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
                    now_ms = min(_now_ms(), records[-1].timestamp_ms) if records else _now_ms()
                    await self._flush_tails(now_ms)
                    next_check_s = loop.time() + TAIL_CHECK_S
        except (LeaseLost, RetryLater) as error:
            self._on_lost(self.partition, error)
        except asyncio.CancelledError:
            raise
        # The worker ends with what nobody expected, before anything later is acknowledged.
        except BaseException as error:  # noqa: BLE001
            self._on_fatal(error)

    async def _gather(self) -> list[RawRecord]:
        """A batch: what is queued, and what comes within the linger time; empty when nothing came for a while."""
        try:
            async with asyncio.timeout(TAIL_CHECK_S):
                records = [await self._queue.get()]
        except TimeoutError:
            return []
        size_bytes = self._drain(records, 0)
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
            size_bytes += len(record.value or b"")
        return size_bytes

    async def _process(self, records: list[RawRecord]) -> None:
        state = self._owned_state()
        effects = Effects()
        sent_bytes = 0
        for record in records:
            # Only a fetch from before a seek can bring an offset twice.
            if record.offset < self._next_offset:
                continue
            before = len(effects.outgoing)
            handle(record, state, self._context, effects)
            self._next_offset = record.offset + 1
            sent_bytes += sum(len(outgoing.value) for outgoing in effects.outgoing[before:])
            if sent_bytes > MAX_SENT_BYTES:
                await self._commit_records(state, effects)
                effects, sent_bytes = Effects(), 0
        await self._commit_records(state, effects)

    async def _commit_records(self, state: PartitionState, effects: Effects) -> None:
        now_ms = _now_ms()
        for key in state.touched:
            self._watch(key, now_ms)
        # A flush that has done its work must not stand for the next one, which may be of the same blob sent again.
        self._flush_sent = {key: blob_id for key, blob_id in self._flush_sent.items() if state.head(key) is not None}
        await self._commit(state, effects, self._next_offset)
        log.debug("buffer.committed", partition=self.partition, **effects.counts)

    async def _commit(self, state: PartitionState, effects: Effects, next_offset: int | None) -> None:
        changelog_end = await self._transactions.commit(effects.outgoing, state.pending, next_offset)
        # Nothing is awaited between the broker's answer and this write, so a revocation cannot come between.
        if changelog_end is not None:
            state.commit(changelog_end)

    async def _flush_tails(self, now_ms: int) -> None:
        """Send a flush command for each user whose time is up; it does nothing if a later blob came meanwhile."""
        state = self._owned_state()
        effects = Effects()
        while self._deadlines and self._deadlines[0][0] <= now_ms and len(effects.outgoing) < MAX_TAILS_PER_CHECK:
            _, key, last_blob_id = heapq.heappop(self._deadlines)
            self._queued_keys.discard(key)
            head = state.head(key)
            if head is None:
                self._flush_sent.pop(key, None)
            elif head.last_blob_id != last_blob_id:
                self._watch(key, now_ms)
            elif self._flush_sent.get(key) != last_blob_id:
                self._flush_sent[key] = last_blob_id
                effects.outgoing.append(_tail_flush(key, last_blob_id, head.last_recorded_ms))
        if effects.outgoing:
            await self._commit(state, effects, None)
            log.debug("buffer.tails_flushed", partition=self.partition, users=len(effects.outgoing))

    def _watch(self, key: HeadKey, now_ms: int) -> None:
        head = self._owned_state().head(key)
        if head is not None and key not in self._queued_keys:
            deadline_ms = tail_deadline_ms(head, now_ms, self._context.policy)
            heapq.heappush(self._deadlines, (deadline_ms, key, head.last_blob_id))
            self._queued_keys.add(key)

    def _owned_state(self) -> PartitionState:
        if self._state is None:
            raise LeaseLost(f"partition {self.partition} was abandoned")
        return self._state

    async def _catch_up(self) -> None:
        """Bring the store to the changelog's end, reading committed records from where it left off."""
        position = TopicPartition(self._topics.buffer_changelog, self.partition)
        async with consumer(self._kafka) as reader:
            with translated("reading the changelog"):
                reader.assign([position])
                end = (await reader.end_offsets([position]))[position]
                begin = (await reader.beginning_offsets([position]))[position]
                start = self._store.next_offset
                if start is None or not begin <= start <= end:
                    self._store.destroy()
                    start = begin
                reader.seek(position, start)
                # Ended by position, not by the last record: a transaction's marker is an offset without a record.
                while await reader.position(position) < end:
                    batches = await reader.getmany(position, timeout_ms=200, max_records=10_000)
                    changes = {record.key: record.value for record in batches.get(position, ())}
                    self._store.write(changes, await reader.position(position))
        log.info("buffer.changelog_read", partition=self.partition, first_offset=start, next_offset=end)


def _tail_flush(key: HeadKey, last_blob_id: str, last_recorded_ms: int) -> Outgoing:
    command = Command.model_validate(
        {
            "command": "flush",
            "id": str(derived_uuid("tail", *key, last_blob_id, last_recorded_ms)),
            "project_id": key.project_id,
            "user_id": key.user_id,
            "blob_type": key.blob_type,
            "last_blob_id": last_blob_id,
        }
    )
    value = command.model_dump_json(exclude_none=True).encode()
    return Outgoing("chat_messages", key.user_id.encode(), value)


def _now_ms() -> int:
    return int(time.time() * 1000)
