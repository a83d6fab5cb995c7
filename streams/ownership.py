"""The partitions of input topics that this worker owns now, through assignment, loss and revocation."""

import asyncio
from collections.abc import Collection, Iterable
from typing import Protocol

import structlog
from aiokafka import TopicPartition

from schemas.errors import MemostreamError, RetryLater
from streams.partition_owner import Flow, OnLost, PartitionOwner
from streams.raw_records import RawRecord

OPEN_RETRY_S = 1.0
REJOIN_DELAY_S = 1.0

log = structlog.get_logger()


class OwnerFactory(Protocol):
    """What a stage has of its own: how its partitions are owned."""

    def keep_only(self, places: Collection[TopicPartition]) -> None:
        """Drop what is kept of partitions that are not assigned any more."""
        ...

    def new_owner(self, place: TopicPartition, on_lost: OnLost) -> PartitionOwner: ...

    def close(self) -> None:
        """Let go of what all owners share."""
        ...


class GroupConsumer(Flow, Protocol):
    """The member of the consumer group that the records come from."""

    def request_rejoin(self) -> None:
        """Ask the group for a new assignment."""
        ...


class PartitionOwners:
    """Owners by partition. A lost partition is healed by a new assignment from `consumer`'s group: a worker that has
    been away too long must not simply open its partition again, for it may not be the owner."""

    consumer: GroupConsumer

    def __init__(self, factory: OwnerFactory, close_timeout_s: float) -> None:
        self._factory = factory
        self._close_timeout_s = close_timeout_s
        self._owners: dict[TopicPartition, PartitionOwner] = {}
        self._generation = -1
        self._releasing: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def owned(self) -> frozenset[TopicPartition]:
        return frozenset(self._owners)

    def owner_of(self, place: TopicPartition) -> PartitionOwner | None:
        """Whoever owns it in this worker now; None if another worker does, or nobody."""
        return self._owners.get(place)

    def behind(self, place: TopicPartition, last_fetched: int | None) -> int:
        """Records of a partition that were fetched and are not committed."""
        owner = self._owners.get(place)
        return 0 if owner is None else owner.behind(last_fetched)

    async def open(self, places: Collection[TopicPartition], generation: int) -> None:
        """Own exactly these partitions; returns when all are fenced and loaded. Waits while the broker is away."""
        self.revoke_all()
        # The stores of former owners must be closed before they are opened again, or deleted.
        await self._await_released()
        self._factory.keep_only(places)
        await asyncio.gather(*(self._open_one(place) for place in sorted(places)))
        self._generation = generation
        for owner in self._owners.values():
            owner.start(self.consumer)

    def put(self, place: TopicPartition, records: Iterable[RawRecord], generation: int) -> None:
        """Hand records to their owner; what was fetched under another assignment is dropped, for it is read again."""
        owner = self._owners.get(place)
        if owner is not None and generation == self._generation:
            owner.put(records)

    def revoke_all(self) -> None:
        """Drop every owner's batch, overlay and producer at once."""
        for place in list(self._owners):
            self._drop(place)

    async def stop(self) -> None:
        """Revoke everything and wait for stores and producers to close."""
        self.revoke_all()
        await self._await_released()
        if self._closing:
            await asyncio.wait(self._closing, timeout=self._close_timeout_s)
        self._factory.close()

    async def _open_one(self, place: TopicPartition) -> None:
        while True:
            # Known from its first moment, so that a revocation while it opens drops it too.
            owner = self._owners[place] = self._factory.new_owner(place, self._lost)
            try:
                await owner.open()
            # Revoked while it opened: whatever then fails of the closed producer and store is of no account.
            except Exception as error:
                if self._owners.get(place) is not owner:
                    name = type(error).__name__
                    log.debug("partition.open_given_up", topic=place.topic, partition=place.partition, error=name)
                    return
                if not isinstance(error, RetryLater):
                    raise
                log.warning("partition.open_retried", topic=place.topic, partition=place.partition, reason=str(error))
                self._drop(place)
                await self._await_released()
                await asyncio.sleep(OPEN_RETRY_S)
            else:
                return

    def _lost(self, place: TopicPartition, error: MemostreamError) -> None:
        if place not in self._owners:
            return
        log.warning("partition.lost", topic=place.topic, partition=place.partition, reason=str(error))
        self._drop(place)
        asyncio.get_running_loop().call_later(REJOIN_DELAY_S, self.consumer.request_rejoin)

    def _drop(self, place: TopicPartition) -> None:
        owner = self._owners.pop(place)
        owner.abandon()
        for tasks, coroutine in ((self._releasing, owner.release_store()), (self._closing, owner.close())):
            task = asyncio.create_task(coroutine)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _await_released(self) -> None:
        if self._releasing:
            await asyncio.wait(self._releasing)
