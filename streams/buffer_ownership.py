"""How partitions of `chat-messages` are owned: their policy, and where their local copies lie."""

import shutil
from collections.abc import Collection
from pathlib import Path

from aiokafka import TopicPartition

from schemas.metrics import NO_METRICS
from schemas.settings import BufferSettings, KafkaSettings
from schemas.tokens import TokenCounter
from streams.buffer_owner import BufferOwner
from streams.buffer_store import MemoryPartitionStore, PartitionStore, RocksPartitionStore
from streams.buffering import BufferContext, everybody
from streams.partition_owner import OnFatal, OnLost
from streams.shadow_buffer import ShadowBuffer, ShadowBufferOwner
from streams.stage_metrics import StageMetrics
from streams.store_slot import StoreSlot
from streams.topics import Topics
from streams.windowing import WindowPolicy


class BufferOwnerFactory:
    """Keeps the stores of partitions that stay over a rebalance, so that only what is new of the changelog is read."""

    def __init__(
        self,
        kafka: KafkaSettings,
        buffer: BufferSettings,
        partitions: int,
        count_tokens: TokenCounter,
        on_fatal: OnFatal,
        metrics: StageMetrics | None = None,
        shadow: ShadowBuffer | None = None,
    ) -> None:
        self._kafka = kafka
        self._buffer = buffer
        self._partitions = partitions
        self._count_tokens = count_tokens
        self._on_fatal = on_fatal
        self._metrics = metrics or StageMetrics(NO_METRICS, "buffer")
        self._shadow = shadow
        self._topics = shadow.topics if shadow is not None else Topics(kafka.topic_prefix)
        self._group = self._topics.buffer_group
        self._memory_stores: dict[int, MemoryPartitionStore] = {}
        self._slot: StoreSlot | None = None

    def keep_only(self, places: Collection[TopicPartition]) -> None:
        wanted = {place.partition for place in places}
        self._memory_stores = {p: store for p, store in self._memory_stores.items() if p in wanted}
        if self._buffer.store == "memory":
            return
        # Nobody would take out of them what a forget removes.
        names = {_folder_name(partition) for partition in wanted}
        for folder in self._folder().iterdir():
            if folder.is_dir() and folder.name not in names:
                shutil.rmtree(folder)

    def new_owner(self, place: TopicPartition, on_lost: OnLost) -> BufferOwner:
        context = BufferContext(
            partition=place.partition,
            partitions=self._partitions,
            group=self._group,
            policy=WindowPolicy.from_settings(self._buffer),
            max_blob_bytes=self._buffer.max_blob_bytes,
            count_tokens=self._count_tokens,
            takes=self._shadow.takes if self._shadow is not None else everybody,
        )
        store = self._open_store(place.partition)
        parts = (self._kafka, self._buffer, context, store, on_lost, self._on_fatal, self._metrics)
        return BufferOwner(*parts) if self._shadow is None else ShadowBufferOwner(self._shadow, *parts)

    def close(self) -> None:
        if self._slot is not None:
            self._slot.release()
            self._slot = None

    def _open_store(self, partition: int) -> PartitionStore:
        if self._buffer.store == "memory":
            return self._memory_stores.setdefault(partition, MemoryPartitionStore())
        return RocksPartitionStore(self._folder() / _folder_name(partition))

    def _folder(self) -> Path:
        if self._slot is None:
            self._slot = StoreSlot.claim(self._buffer.data_dir / self._group)
        return self._slot.folder


def _folder_name(partition: int) -> str:
    return f"partition-{partition}"
