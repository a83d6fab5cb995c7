"""Waiters are handed their rows: those that were there, those that come, and those that come while nobody listens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.ledger import UnitCounts, record_ledger, window_row
from storage.ledger_waiter import LedgerWaiter
from tests.integration.storage.builders import NOW, position, unit, window

LONG_S = 60.0


@pytest.fixture
async def waiter(engine: AsyncEngine) -> AsyncIterator[LedgerWaiter]:
    waiter = LedgerWaiter(engine)
    running = asyncio.create_task(waiter.run())
    yield waiter
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def finish(engine: AsyncEngine, blob_id: str) -> UUID:
    """Write the row of a window that holds this blob."""
    done = window(unit(blob_id))
    async with engine.begin() as connection:
        await record_ledger(connection, [window_row(done, position(1), UnitCounts(applied=1), NOW)])
    return done.window_id


async def test_a_row_that_is_there_already_is_handed_out(engine: AsyncEngine, waiter: LedgerWaiter) -> None:
    row = await waiter.wait(await finish(engine, "b1"), LONG_S)
    assert row is not None
    assert (row.outcome, row.user_id) == ("applied", "ann")


async def test_all_waiters_of_rows_that_come_get_theirs(engine: AsyncEngine, waiter: LedgerWaiter) -> None:
    blob_ids = [f"b{number}" for number in range(20)]
    waits = [asyncio.create_task(waiter.wait(window(unit(name)).window_id, LONG_S)) for name in blob_ids * 2]
    await asyncio.sleep(0)
    finished = [await finish(engine, name) for name in blob_ids]
    rows = await asyncio.gather(*waits)
    assert [row.ledger_id for row in rows if row is not None] == finished * 2


async def test_a_wait_that_takes_too_long_ends_without_a_row(waiter: LedgerWaiter) -> None:
    assert await waiter.wait(uuid4(), 0.05) is None


async def test_a_row_that_came_while_the_listener_was_cut_off_is_found(
    engine: AsyncEngine, waiter: LedgerWaiter
) -> None:
    await waiter.wait(await finish(engine, "b0"), LONG_S)
    waiting = asyncio.create_task(waiter.wait(window(unit("b1")).window_id, LONG_S))
    await asyncio.sleep(0)
    async with engine.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        await connection.execute(text(others))
    finished = await finish(engine, "b1")
    row = await waiting
    assert row is not None
    assert row.ledger_id == finished
