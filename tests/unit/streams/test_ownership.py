"""A partition that is revoked while it opens is left alone, whatever its closed clients then raise."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition

from schemas.errors import RetryLater
from streams.ownership import PartitionOwners


class SlowOwner:
    """Opens until it is abandoned, then fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.abandoned = asyncio.Event()

    async def open(self) -> None:
        await self.abandoned.wait()
        raise self.error

    def abandon(self) -> None:
        self.abandoned.set()

    async def release_store(self) -> None: ...

    async def close(self) -> None: ...


class SlowFactory:
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.made: list[SlowOwner] = []

    def keep_only(self, places: object) -> None: ...

    def new_owner(self, place: TopicPartition, on_lost: object) -> Any:
        self.made.append(SlowOwner(self.error))
        return self.made[-1]

    def close(self) -> None: ...


@pytest.mark.parametrize("error", [RetryLater("the producer was stopped"), RuntimeError("the store is closed")])
async def test_a_revocation_while_a_partition_opens_neither_fails_nor_opens_it_again(error: Exception) -> None:
    factory = SlowFactory(error)
    owners = PartitionOwners(factory, 1.0)
    opening = asyncio.create_task(owners.open([TopicPartition("chat-messages", 0)], 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(factory.made) == 1
    owners.revoke_all()
    await opening
    assert len(factory.made) == 1
    assert owners.owned == frozenset()
