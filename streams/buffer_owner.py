"""A partition of `chat-messages` that this worker owns: its buffer and its tails."""

import asyncio
import contextlib
import heapq

import structlog
from aiokafka import TopicPartition

from schemas.buffer_views import BufferView
from schemas.errors import LeaseLost, RetryLater
from schemas.identity import derived_uuid
from schemas.metrics import NO_METRICS
from schemas.records import Command
from schemas.settings import BufferSettings, KafkaSettings
from schemas.tracing import consuming
from streams.buffer_codec import HeadKey
from streams.buffer_memory import BufferMemory, Forgotten, User
from streams.buffer_state import PartitionState
from streams.buffer_store import PartitionStore
from streams.buffer_views import buffered_blobs
from streams.buffering import BufferContext, handle
from streams.clients import consumer, translated
from streams.partition_owner import OnFatal, OnLost, PartitionOwner, now_ms
from streams.raw_records import Effects, Outgoing, RawRecord
from streams.stage_metrics import StageMetrics
from streams.topics import Topics
from streams.transactions import PartitionTransactions
from streams.windowing import Head, tail_deadline_ms

# Tails of one check go into one transaction.
MAX_TAILS_PER_CHECK = 500
# A copy on disk is made anew after a forget, and the partition stands still for so long: at most a part of the time.
PURGE_PAUSES = 10
# The disk may have no room for two copies.
PURGE_RETRY_S = 60.0
# Deadlines of users who have nothing buffered any more stay for a while, up to as many as there are others, and these.
MAX_STALE_DEADLINES = 1000

log = structlog.get_logger()


class BufferOwner(PartitionOwner):
    """Decides on an overlay of the store, which is written after the commit."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: BufferSettings,
        context: BufferContext,
        store: PartitionStore,
        on_lost: OnLost,
        on_fatal: OnFatal,
        metrics: StageMetrics | None = None,
        topics: Topics | None = None,
    ) -> None:
        topics = topics or Topics(kafka.topic_prefix)
        place = TopicPartition(topics.chat_messages, context.partition)
        changelog = TopicPartition(topics.buffer_changelog, context.partition)
        transactions = PartitionTransactions(
            kafka, topics, place, topics.buffer_group, topics.buffer_transactional_id(context.partition), changelog
        )
        super().__init__(place, settings, transactions, on_lost, on_fatal)
        self._metrics = metrics or StageMetrics(NO_METRICS, "buffer")
        self._about = consuming(place.topic, place.partition, context.group)
        self._kafka = kafka
        self._context = context
        self._store = store
        self._changelog = changelog
        self._state: PartitionState | None = None
        self._deadlines: list[tuple[int, HeadKey, str]] = []
        self._queued_keys: set[HeadKey] = set()
        self._flush_sent: dict[HeadKey, str] = {}
        self._committed_offset = 0
        self._memory = BufferMemory()
        self._moved = asyncio.Event()
        self._purge_due = False
        self._purge_at_s = 0.0

    async def open(self) -> None:
        await super().open()
        await self._catch_up()
        # Forgets may have passed while the copy lay here, and nothing in it tells which.
        self._purge_due = not self._store.is_clean_at(self._committed_offset)
        self._state = PartitionState(self._store)
        at_ms = now_ms()
        for key in self._state.heads:
            self._watch(key, at_ms)
        log.info("buffer.partition_opened", partition=self.place.partition, heads=len(self._state.heads))

    def abandon(self) -> None:
        super().abandon()
        self._state = None
        self._moved.set()

    def heads(self) -> list[Head]:
        """Of what is buffered now; none while the state is being loaded."""
        return [] if self._state is None else list(self._state.heads.values())

    async def wait_for(self, offset: int, timeout_s: float) -> None:
        """Wait until the record at `offset` is decided and committed, this owner is abandoned, or time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._state is not None and self._committed_offset <= offset:
                    await self._moved.wait()

    def view(self, user: User) -> BufferView:
        """What is committed of one user; raises RetryLater while the state is being loaded, and once abandoned."""
        if self._state is None:
            raise RetryLater(f"partition {self.place.partition} is changing hands")
        return BufferView(
            partition=self.place.partition,
            next_offset=self._committed_offset,
            is_purged=not self._purge_due,
            blobs=buffered_blobs(self._store, user),
            closed=self._memory.closed(user),
            parked=self._memory.parked(user),
        )

    async def release_store(self) -> None:
        await super().release_store()
        self._store.close()

    def _decide(self, record: RawRecord, effects: Effects) -> None:
        handle(record, self._owned_state(), self._context, effects)

    async def _commit(self, effects: Effects, next_offset: int | None) -> None:
        state = self._owned_state()
        at_ms = now_ms()
        for key in state.touched:
            self._watch(key, at_ms)
        # A flush that has done its work must not stand for the next one, which may be of the same blob sent again.
        self._flush_sent = {key: blob_id for key, blob_id in self._flush_sent.items() if state.head(key) is not None}
        await self._send(state, effects, next_offset)
        log.debug("buffer.committed", partition=self.place.partition, **effects.counts)

    async def _send(self, state: PartitionState, effects: Effects, next_offset: int | None) -> None:
        with self._metrics.transaction(effects.counts, self._about, effects.traces):
            changelog_end = await self._transactions.commit(effects.outgoing, next_offset, state.pending)
        # Nothing is awaited between the broker's answer and this write, so a revocation cannot come between.
        if next_offset is not None:
            self._committed_offset = next_offset
        if any(isinstance(outcome, Forgotten) for outcome in effects.outcomes):
            self._purge_due = self._purge_due or not self._store.is_clean_at(self._committed_offset)
        if changelog_end is not None:
            state.commit(changelog_end, None if self._purge_due else self._committed_offset)
        for outcome in effects.outcomes:
            self._memory.remember(outcome)
        self._moved.set()
        self._moved.clear()

    async def _check(self, now_ms: int) -> None:
        """End the tail of each user whose time is up."""
        state = self._owned_state()
        if self._purge_due and asyncio.get_running_loop().time() >= self._purge_at_s:
            await self._purge()
        self._drop_stale_deadlines(state)
        effects = Effects()
        while self._deadlines and self._deadlines[0][0] <= now_ms and len(effects.outgoing) < MAX_TAILS_PER_CHECK:
            _, key, last_blob_id = heapq.heappop(self._deadlines)
            self._queued_keys.discard(key)
            head = state.head(key)
            if head is None:
                self._flush_sent.pop(key, None)
            elif head.last_blob_id != last_blob_id:
                self._watch(key, now_ms)
            else:
                self._end_tail(key, head, effects)
        if effects.outgoing:
            await self._send(state, effects, None)
            log.debug("buffer.tails_flushed", partition=self.place.partition, users=len(effects.outgoing))

    def _end_tail(self, key: HeadKey, head: Head, effects: Effects) -> None:
        """Send a flush command, which does nothing if a later blob came meanwhile."""
        if self._flush_sent.get(key) != head.last_blob_id:
            self._flush_sent[key] = head.last_blob_id
            effects.outgoing.append(_tail_flush(key, head.last_blob_id, head.last_recorded_ms))

    async def _purge(self) -> None:
        """Leave nothing on disk of what was removed; nobody writes meanwhile, for whoever would is waiting here."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            is_copied = await asyncio.to_thread(self._store.copy_live)
        # rocksdict raises bare Exception subclasses. The copy goes on as it is, and is made anew later.
        except Exception as error:  # noqa: BLE001
            log.warning("buffer.purge_put_off", partition=self.place.partition, error=type(error).__name__)
            self._purge_at_s = loop.time() + PURGE_RETRY_S
            return
        if not is_copied:
            return
        self._store.take_copy(self._committed_offset)
        self._purge_due = False
        took_s = loop.time() - began_s
        self._purge_at_s = loop.time() + PURGE_PAUSES * took_s
        log.info("buffer.purged", partition=self.place.partition, duration_s=round(took_s, 3))

    def _drop_stale_deadlines(self, state: PartitionState) -> None:
        """Of users whose windows have closed: a deadline may be an hour away, and by then many have come and gone."""
        if len(self._deadlines) <= 2 * len(state.heads) + MAX_STALE_DEADLINES:
            return
        self._deadlines = [deadline for deadline in self._deadlines if state.head(deadline[1]) is not None]
        heapq.heapify(self._deadlines)
        self._queued_keys = {key for _, key, _ in self._deadlines}

    def _watch(self, key: HeadKey, now_ms: int) -> None:
        head = self._owned_state().head(key)
        if head is not None and key not in self._queued_keys:
            deadline_ms = tail_deadline_ms(head, now_ms, self._context.policy)
            heapq.heappush(self._deadlines, (deadline_ms, key, head.last_blob_id))
            self._queued_keys.add(key)

    def _owned_state(self) -> PartitionState:
        if self._state is None:
            raise LeaseLost(f"partition {self.place.partition} was abandoned")
        return self._state

    async def _catch_up(self) -> None:
        """Bring the store to the changelog's end, reading committed records from where it left off."""
        position = self._changelog
        async with consumer(self._kafka, group_id=self._context.group) as reader:
            with translated("reading the changelog"):
                self._committed_offset = await reader.committed(self.place) or 0
                reader.assign([position])
                end = (await reader.end_offsets([position]))[position]
                begin = (await reader.beginning_offsets([position]))[position]
                start = self._store.next_offset
                is_clean = self._store.is_clean_at(self._committed_offset)
                if start is None or not begin <= start <= end:
                    self._store.destroy()
                    start = begin
                    is_clean = False
                reader.seek(position, start)
                # Ended by position, not by the last record: a transaction's marker is an offset without a record.
                while await reader.position(position) < end:
                    batches = await reader.getmany(position, timeout_ms=200, max_records=10_000)
                    changes = {record.key: record.value for record in batches.get(position, ())}
                    is_clean = is_clean and not changes
                    clean_offset = self._committed_offset if is_clean else None
                    self._store.write(changes, await reader.position(position), clean_offset)
                    self._metrics.moved += 1
        log.info("buffer.changelog_read", partition=self.place.partition, first_offset=start, next_offset=end)


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
