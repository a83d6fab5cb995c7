"""Connections that were lost while nobody used them."""

import asyncio
from typing import Any

import pytest
from asyncpg.transaction import Transaction
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import RetryLater
from storage import database
from storage.compiled import Compiled
from storage.errors import translated

OTHERS = text("SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity WHERE pid = ANY(:pids)")
MINE = text("SELECT pg_backend_pid()")


async def backends(engine: AsyncEngine, count: int) -> set[int]:
    """The servers behind so many connections of the pool, all of them used at once and given back."""
    connections = [await engine.connect() for _ in range(count)]
    try:
        return {(await connection.scalar(MINE)) for connection in connections}
    finally:
        for connection in connections:
            await connection.close()


async def test_connections_that_the_server_has_closed_are_replaced_before_anybody_notices(engine: AsyncEngine) -> None:
    lost = await backends(engine, 3)
    async with engine.connect() as connection:
        kept = await connection.scalar(MINE)
        assert await connection.scalar(OTHERS, {"pids": list(lost - {kept})}) == 2
    # The news are in the socket; the loop has to read them.
    await asyncio.sleep(0.2)
    found = await backends(engine, 3)
    assert found & lost == {kept}
    assert len(found) == 3


async def test_a_connection_is_not_asked_each_time(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    (backend,) = await backends(engine, 1)
    monkeypatch.setattr(database, "QUIET_S", -1.0)
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
    queries: list[str] = []
    driver.add_query_logger(lambda record: queries.append(record.query))
    assert await backends(engine, 1) == {backend}
    assert ";" in queries
    queries.clear()
    monkeypatch.undo()
    assert await backends(engine, 1) == {backend}
    assert ";" not in queries


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_a_connection_that_is_lost_before_a_transaction_begins_may_come_back(
    engine: AsyncEngine, is_noticed: bool
) -> None:
    async def work() -> None:
        async with engine.begin() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            if is_noticed:
                driver.terminate()
            else:
                driver._transport.abort()
            await Compiled(select(text("1"))).row(connection)

    with pytest.raises(RetryLater), translated("testing"):
        await work()
    assert len(await backends(engine, 1)) == 1


async def test_a_connection_on_which_a_begin_was_cancelled_is_not_used_again(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, has_begun = Transaction.start, asyncio.Event()

    async def late(self: Transaction) -> None:
        await start(self)
        has_begun.set()
        await asyncio.Event().wait()

    async def work() -> None:
        async with engine.begin() as connection:
            await Compiled(select(text("1"))).row(connection)

    (before,) = await backends(engine, 1)
    monkeypatch.setattr(Transaction, "start", late)
    working = asyncio.create_task(work())
    await has_begun.wait()
    working.cancel()
    await asyncio.wait([working])
    monkeypatch.undo()
    assert working.cancelled()
    assert await backends(engine, 1) != {before}
