"""The partitions of `chat-messages` that this worker owns now, through assignment, loss and revocation."""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from schemas.errors import MemostreamError, RetryLater
from schemas.settings import BufferSettings, KafkaSettings
from schemas.tokens import TokenCounter
from streams.buffer_store import MemoryPartitionStore, PartitionStore, RocksPartitionStore
from streams.buffering import BufferContext
from streams.partition_owner import PartitionOwner
from streams.raw_records import RawRecord
from streams.topics import Topics
from streams.windowing import WindowPolicy

OPEN_RETRY_S = 1.0
REJOIN_DELAY_S = 1.0
MAX_WORKERS_PER_FOLDER = 1000

log = structlog.get_logger()


class PartitionOwners:
    """Owners by partition. `request_rejoin` asks the group for a new assignment, which heals a lost partition:
    a worker that has been away too long must not simply open its partition again, for it may not be the owner."""

    def __init__(
        self,
        kafka: KafkaSettings,
        buffer: BufferSettings,
        partitions: int,
        count_tokens: TokenCounter,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._kafka = kafka
        self._buffer = buffer
        self._partitions = partitions
        self._count_tokens = count_tokens
        self._on_fatal = on_fatal
        self.request_rejoin: Callable[[], None] = lambda: None
        self._owners: dict[int, PartitionOwner] = {}
        self._generation = -1
        self._memory_stores: dict[int, MemoryPartitionStore] = {}
        self._slot: StoreSlot | None = None
        self._releasing: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def owned(self) -> frozenset[int]:
        return frozenset(self._owners)

    async def open(self, partitions: Iterable[int], generation: int) -> None:
        """Own exactly these partitions; returns when all are fenced and loaded. Waits while the broker is away."""
        self.revoke_all()
        wanted = sorted(partitions)
        self._memory_stores = {p: store for p, store in self._memory_stores.items() if p in wanted}
        # The stores of former owners must be closed before they are opened again.
        await self._await_released()
        await asyncio.gather(*(self._open_one(partition) for partition in wanted))
        self._generation = generation
        for owner in self._owners.values():
            owner.start()

    async def put(self, record: RawRecord, generation: int) -> None:
        """Hand a record to its owner; what was fetched under another assignment is dropped, for it is read again."""
        owner = self._owners.get(record.partition)
        if owner is not None and generation == self._generation:
            await owner.put(record)

    def revoke_all(self) -> None:
        """Drop every owner's batch, overlay and producer at once."""
        for partition in list(self._owners):
            self._drop(partition)

    async def stop(self) -> None:
        """Revoke everything and wait for stores and producers to close."""
        self.revoke_all()
        await self._await_released()
        if self._closing:
            await asyncio.wait(self._closing, timeout=self._kafka.session_timeout_s)
        if self._slot is not None:
            self._slot.release()
            self._slot = None

    async def _open_one(self, partition: int) -> None:
        while True:
            # Known from its first moment, so that a revocation while it opens drops it too.
            owner = self._owners[partition] = self._new_owner(partition)
            try:
                await owner.open()
            # Revoked while it opened: whatever then fails of the closed producer and store is of no account.
            except Exception as error:
                if self._owners.get(partition) is not owner:
                    log.debug("buffer.open_given_up", partition=partition, error=type(error).__name__)
                    return
                if not isinstance(error, RetryLater):
                    raise
                log.warning("buffer.open_retried", partition=partition, error=str(error))
                self._drop(partition)
                await self._await_released()
                await asyncio.sleep(OPEN_RETRY_S)
            else:
                return

    def _new_owner(self, partition: int) -> PartitionOwner:
        context = BufferContext(
            partition=partition,
            partitions=self._partitions,
            group=Topics(self._kafka.topic_prefix).buffer_group,
            policy=WindowPolicy.from_settings(self._buffer),
            max_blob_bytes=self._buffer.max_blob_bytes,
            count_tokens=self._count_tokens,
        )
        store = self._open_store(partition)
        return PartitionOwner(self._kafka, self._buffer, context, store, self._lost, self._on_fatal)

    def _open_store(self, partition: int) -> PartitionStore:
        if self._buffer.store == "memory":
            return self._memory_stores.setdefault(partition, MemoryPartitionStore())
        if self._slot is None:
            group = Topics(self._kafka.topic_prefix).buffer_group
            self._slot = StoreSlot.claim(self._buffer.data_dir / group)
        return RocksPartitionStore(self._slot.folder / f"partition-{partition}")

    def _lost(self, partition: int, error: MemostreamError) -> None:
        if partition not in self._owners:
            return
        log.warning("buffer.partition_lost", partition=partition, error=str(error))
        self._drop(partition)
        asyncio.get_running_loop().call_later(REJOIN_DELAY_S, self.request_rejoin)

    def _drop(self, partition: int) -> None:
        owner = self._owners.pop(partition)
        owner.abandon()
        for tasks, coroutine in ((self._releasing, owner.release_store()), (self._closing, owner.close())):
            task = asyncio.create_task(coroutine)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _await_released(self) -> None:
        if self._releasing:
            await asyncio.wait(self._releasing)


class StoreSlot:
    """A folder of its own for each worker that shares a data folder, held by a lock of the operating system."""

    def __init__(self, folder: Path, lock_descriptor: int) -> None:
        self.folder = folder
        self._lock_descriptor = lock_descriptor

    @classmethod
    def claim(cls, parent: Path) -> "StoreSlot":
        """Take the first free folder below `parent`, so that a restarted worker finds its own copy again."""
        for number in range(MAX_WORKERS_PER_FOLDER):
            folder = parent / f"worker-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            return cls(folder, descriptor)
        raise MemostreamError(f"{parent}: {MAX_WORKERS_PER_FOLDER} workers hold its folders already")

    def release(self) -> None:
        os.close(self._lock_descriptor)
