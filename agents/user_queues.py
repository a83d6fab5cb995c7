"""Records of one user one after the other, of different users side by side, and no more of them than allowed."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from agents.faults import UserKey
from schemas.settings import BufferSettings
from schemas.windows import Position, Window, WindowCommand, decode_window
from streams.stopping import FAREWELL_S
from streams.tracker import Partition, Ticket


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record as read from extraction-windows."""

    ticket: Ticket
    record: Window | WindowCommand
    position: Position
    size_bytes: int

    @property
    def user(self) -> UserKey:
        return (self.record.project_id, self.record.user_id)


@dataclass(frozen=True, slots=True)
class Surplus:
    """A record of a user who has enough of them decoded."""

    ticket: Ticket
    position: Position
    value: bytes


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much is extracted together: tokens, and how long the user may have been silent in between."""

    tokens: int
    silence_ms: int

    @classmethod
    def of(cls, settings: BufferSettings) -> Self:
        return cls(settings.max_chat_blob_buffer_process_token_size, int(settings.buffer_flush_interval_s * 1000))


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Decoded records that are not finished, what of them goes together, and bytes of surplus.

    Bytes are those of the records as they lie in Kafka.
    """

    records: int
    records_per_user: int
    bytes: int
    bytes_per_user: int
    batch: BatchLimits
    surplus_bytes: int


# Whether the batch is done; False hands it back. The event is set when the user's queue is full.
Settle = Callable[[Sequence[Delivery], asyncio.Event], Awaitable[bool]]


def batch_size(records: Sequence[Window | WindowCommand], limits: BatchLimits) -> int:
    """How many records from the front go together: one command, or windows of one blob type within the limits.

    What lies months apart, as in a backfill, would otherwise become one event of one day, and what was known in between
    would never have been known.
    """
    if not records:
        return 0
    first = records[0]
    if isinstance(first, WindowCommand):
        return 1
    tokens = first.token_count
    seen = {first.window_id}
    before = first
    for size, record in enumerate(records[1:], start=1):
        if not isinstance(record, Window) or record.blob_type != first.blob_type or record.window_id in seen:
            return size
        tokens += record.token_count
        if tokens > limits.tokens or _silence_ms(before, record) > limits.silence_ms:
            return size
        seen.add(record.window_id)
        before = record
    return len(records)


def _silence_ms(before: Window, after: Window) -> int:
    return after.units[0].occurred_at_ms - max(unit.occurred_at_ms for unit in before.units)


@dataclass(slots=True)
class _UserQueue:
    waiting: deque[Delivery] = field(default_factory=deque)
    surplus: deque[Surplus] = field(default_factory=deque)
    running: int = 0
    # Of what waits and what runs.
    bytes: int = 0
    task: "asyncio.Task[None] | None" = None
    full: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def size(self) -> int:
        return len(self.waiting) + self.running


class UserQueues:
    """`settle` is awaited for one batch of a user at a time; `finished` is told of each batch that it settled.

    What a user has above the limit waits undecoded, which takes less memory, so that the reader goes on to
    others: only when all users together have too much of that does it wait for a slow one.

    An error of `settle` goes to `failed`, and the user's later records are not touched any more.
    """

    def __init__(
        self,
        settle: Settle,
        finished: Callable[[Sequence[Delivery]], None],
        failed: Callable[[BaseException], None],
        limits: QueueLimits,
    ) -> None:
        self._settle = settle
        self._finished = finished
        self._failed = failed
        self._limits = limits
        self._users: dict[UserKey, _UserQueue] = {}
        # Decoded ones.
        self._size = 0
        self._bytes = 0
        self._surplus = 0
        self._surplus_bytes = 0
        self._room = asyncio.Event()

    @property
    def size(self) -> int:
        """Records added and neither finished nor dropped."""
        return self._size + self._surplus

    async def room_for(self, user: UserKey, size_bytes: int) -> None:
        """Wait until a record of the user may be added; for one reader, which adds before it asks again."""
        while True:
            queue = self._users.get(user)
            if queue is not None and self._is_full(queue):
                queue.full.set()
                if self._surplus_bytes + size_bytes <= self._limits.surplus_bytes:
                    return
            elif self._has_room(size_bytes):
                return
            self._room.clear()
            await self._room.wait()

    def add(self, delivery: Delivery, value: bytes) -> None:
        """Put a record, whose bytes are `value`, behind those of its user."""
        queue = self._users.setdefault(delivery.user, _UserQueue())
        if self._is_full(queue):
            queue.surplus.append(Surplus(delivery.ticket, delivery.position, value))
            self._surplus += 1
            self._surplus_bytes += len(value)
            return
        self._append(queue, delivery)
        if queue.task is None:
            queue.task = asyncio.create_task(self._run(delivery.user, queue))
            queue.task.add_done_callback(self._ended)

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Take away what waits of partitions that are lost; what runs may finish."""
        lost = set(partitions)
        for queue in self._users.values():
            self._keep_waiting(queue, [item for item in queue.waiting if item.ticket.partition not in lost])
            self._keep_surplus(queue, [item for item in queue.surplus if item.ticket.partition not in lost])
        self._room.set()

    async def drain(self, timeout_s: float) -> int:
        """Start nothing more, let what runs finish for `timeout_s`, cancel the rest; returns how many were left."""
        for queue in self._users.values():
            self._keep_waiting(queue, [])
            self._keep_surplus(queue, [])
        tasks = [queue.task for queue in self._users.values() if queue.task is not None]
        if not tasks:
            return 0
        _, late = await asyncio.wait(tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            # What it has spent is still written down, unless Postgres is away.
            await asyncio.wait(late, timeout=FAREWELL_S)
        return len(late)

    async def _run(self, user: UserKey, queue: _UserQueue) -> None:
        while queue.waiting:
            records = [delivery.record for delivery in queue.waiting]
            queue.running = batch_size(records, self._limits.batch)
            batch = [queue.waiting.popleft() for _ in range(queue.running)]
            if await self._settle(batch, queue.full):
                self._finished(batch)
            self._size -= queue.running
            self._count_bytes(queue, -sum(delivery.size_bytes for delivery in batch))
            queue.running = 0
            self._decode_surplus(queue)
            self._room.set()
        del self._users[user]

    def _has_room(self, size_bytes: int) -> bool:
        """One record is always taken, whatever its size."""
        is_within = self._bytes + size_bytes <= self._limits.bytes
        return self._size == 0 or (is_within and self._size < self._limits.records)

    def _has_enough(self, queue: _UserQueue) -> bool:
        return queue.size >= self._limits.records_per_user or queue.bytes >= self._limits.bytes_per_user

    def _is_full(self, queue: _UserQueue) -> bool:
        return bool(queue.surplus) or self._has_enough(queue)

    def _append(self, queue: _UserQueue, delivery: Delivery) -> None:
        queue.waiting.append(delivery)
        self._size += 1
        self._count_bytes(queue, delivery.size_bytes)

    def _count_bytes(self, queue: _UserQueue, added: int) -> None:
        queue.bytes += added
        self._bytes += added

    def _decode_surplus(self, queue: _UserQueue) -> None:
        while queue.surplus and not self._has_enough(queue):
            item = queue.surplus.popleft()
            self._append(queue, Delivery(item.ticket, decode_window(item.value), item.position, len(item.value)))
            self._surplus -= 1
            self._surplus_bytes -= len(item.value)
        if not queue.surplus:
            queue.full.clear()

    def _keep_waiting(self, queue: _UserQueue, kept: Sequence[Delivery]) -> None:
        self._size -= len(queue.waiting) - len(kept)
        dropped = sum(item.size_bytes for item in queue.waiting) - sum(item.size_bytes for item in kept)
        self._count_bytes(queue, -dropped)
        queue.waiting = deque(kept)

    def _keep_surplus(self, queue: _UserQueue, kept: Sequence[Surplus]) -> None:
        self._surplus -= len(queue.surplus) - len(kept)
        self._surplus_bytes -= sum(len(item.value) for item in queue.surplus) - sum(len(item.value) for item in kept)
        queue.surplus = deque(kept)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
