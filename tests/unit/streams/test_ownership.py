"""A partition that is revoked while it opens is left alone, whatever its closed clients then raise."""

import asyncio

import pytest

from schemas.errors import RetryLater
from schemas.settings import BufferSettings, KafkaSettings
from schemas.tokens import estimate_tokens
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


@pytest.mark.parametrize("error", [RetryLater("the producer was stopped"), RuntimeError("the store is closed")])
async def test_a_revocation_while_a_partition_opens_neither_fails_nor_opens_it_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    owners = PartitionOwners(KafkaSettings(), BufferSettings(), 1, estimate_tokens, lambda _: None)
    made: list[SlowOwner] = []

    def new_owner(partition: int) -> SlowOwner:
        made.append(SlowOwner(error))
        return made[-1]

    monkeypatch.setattr(owners, "_new_owner", new_owner)
    opening = asyncio.create_task(owners.open([0], 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(made) == 1
    owners.revoke_all()
    await opening
    assert len(made) == 1
    assert owners.owned == frozenset()
