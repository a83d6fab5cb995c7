"""Places for attempts: to read, at the model, and to write."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from agents.slots import Slots, share_of_pool

SERVER = "postgresql+asyncpg://localhost/none"


async def _waits(work: Awaitable[None]) -> "asyncio.Task[None]":
    """What has come as far as it can, and is not done."""
    task = asyncio.ensure_future(work)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_who_goes_on_lets_the_next_one_follow() -> None:
    slots = Slots(1, readers=1, writers=1)
    async with slots.one() as first:
        await first.ask()
        async with slots.one() as second:
            await first.write()
            await second.ask()
            async with slots.one():
                pass


async def test_who_cannot_write_yet_keeps_the_place_at_the_model() -> None:
    slots = Slots(1, readers=3, writers=1)
    async with slots.one() as first, slots.one() as second, slots.one() as third:
        await first.ask()
        await first.write()
        await second.ask()
        writing = await _waits(second.write())
        asking = await _waits(third.ask())
        first.leave()
        await writing
        await asking


@pytest.mark.parametrize("back", ["read", "ask"])
async def test_who_goes_back_lets_the_next_one_write_first(back: str) -> None:
    slots = Slots(1, readers=1, writers=1)
    async with slots.one() as first:
        await first.ask()
        await first.write()
        async with slots.one() as second:
            if back == "ask":
                await second.ask()
            going_back = await _waits(getattr(first, back)())
            await second.ask()
            await second.write()
            await going_back


@pytest.mark.parametrize("steps", [[], ["ask"], ["ask", "write"]])
async def test_nothing_is_held_after_a_cancellation(steps: list[str]) -> None:
    slots = Slots(1, readers=1, writers=1)

    async def attempt() -> None:
        async with slots.one() as slot:
            for step in steps:
                await getattr(slot, step)()
            await asyncio.Event().wait()

    cancelled = await _waits(attempt())
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    async with slots.one() as slot:
        await slot.ask()
        await slot.write()


@pytest.mark.parametrize(
    ("options", "expected"), [({"pool_size": 10}, 5), ({"pool_size": 1}, 1), ({"pool_size": 3}, 1)]
)
def test_a_share_of_the_pool_is_one_connection_at_least(options: dict[str, Any], expected: int) -> None:
    assert share_of_pool(create_async_engine(SERVER, **options), 0.5) == expected
