"""Partitions are opened again and again for as long as the app lives, or the worker ends."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.errors import RetryLater
from streams.assignment import OwnershipLoader
from streams.clients import translated


def loader(wait: Any) -> SimpleNamespace:
    """What the loader's task needs of its app, in a rebalance; opening is what `wait` does."""

    async def going_on(signal: Any) -> bool:
        await signal
        return False

    started = asyncio.Event()
    started.set()
    owners = SimpleNamespace(open=lambda *_: None)
    return SimpleNamespace(
        should_stop=False,
        signal_recovery_start=started,
        wait_for_stopped=going_on,
        _generation_id=1,
        _assigned=frozenset(),
        _owners=owners,
        _wait=wait,
    )


async def cancelled_within(_: object) -> None:
    inner = asyncio.get_running_loop().create_future()
    inner.cancel()
    await inner


async def test_a_cancellation_that_nobody_asked_for_ends_the_worker_and_not_the_task_alone() -> None:
    run: Any = OwnershipLoader._restart_recovery
    with pytest.raises(RuntimeError, match="opening partitions was cancelled"):
        await run.fun(loader(cancelled_within))


async def test_a_loader_that_is_cancelled_ends_without_an_error() -> None:
    async def for_ever(_: object) -> None:
        await asyncio.Event().wait()

    run: Any = OwnershipLoader._restart_recovery
    task = asyncio.create_task(run.fun(loader(for_ever)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await task


async def test_a_client_that_ends_within_is_tried_again_later() -> None:
    with pytest.raises(RetryLater, match="Kafka, reading: the client has ended"), translated("reading"):
        await cancelled_within(None)


async def test_a_cancellation_that_was_asked_for_stays_one() -> None:
    async def read() -> None:
        with translated("reading"):
            await asyncio.Event().wait()

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
