"""Held windows on a real database."""

import asyncio
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.holding import HeldRecord, due, first_held_reason, hold, read_held, release, renew, reschedule
from storage.tables import held_windows
from tests.integration.storage.builders import NOW, command, position, unit, window


async def test_a_held_window_comes_back_as_it_was(engine: AsyncEngine) -> None:
    one = window(unit("b1", text="a\x00b"))
    await _hold(engine, one)
    (held,) = await _due(engine)
    assert (held.record, held.position, held.reason, held.attempts) == (one, position(0), "away", 1)


async def test_what_comes_later_queues_behind_and_is_not_due_before_the_first_is_done(
    engine: AsyncEngine,
) -> None:
    first, second = window(unit("b1")), window(unit("b2"))
    flush = command("flush")
    await _hold(engine, first, second, flush)
    order = []
    for _ in range(3):
        (held,) = await _due(engine)
        order.append(held.record)
        async with engine.begin() as connection:
            await release(connection, [held.ledger_id])
    assert order == [first, second, flush]
    async with engine.connect() as connection:
        assert await first_held_reason(connection, "default", "ann") is None


async def test_users_are_claimed_side_by_side_and_each_once(engine: AsyncEngine) -> None:
    for number in range(6):
        await _hold(engine, window(unit("b1"), user_id=f"user-{number}"))
        await _hold(engine, window(unit("b2"), user_id=f"user-{number}"))
    claims = await asyncio.gather(*(_due(engine, worker, limit=3) for worker in ("w1", "w2", "w3")))
    claimed = [held.record.user_id for claim in claims for held in claim]
    assert len(claimed) == len(set(claimed))
    claimed += [held.record.user_id for held in await _due(engine, "w4")]
    assert sorted(claimed) == [f"user-{number}" for number in range(6)]


async def test_a_claim_that_ran_out_is_lost_to_the_next_worker(engine: AsyncEngine) -> None:
    await _hold(engine, window(unit("b1")))
    (held,) = await _due(engine, "w1")
    assert await _due(engine, "w2") == []
    async with engine.begin() as connection:
        await connection.execute(update(held_windows).values(claimed_until=NOW - timedelta(days=9999)))
    assert [again.attempts for again in await _due(engine, "w2")] == [2]
    async with engine.begin() as connection:
        await reschedule(connection, "w1", held.ledger_id, NOW + timedelta(minutes=1), "gave it back too late")
        assert await due(connection, "w3", NOW + timedelta(minutes=2), 10, 30.0) == []


async def test_only_the_worker_that_has_a_claim_renews_it(engine: AsyncEngine) -> None:
    await _hold(engine, window(unit("b1")))
    (held,) = await _due(engine, "w1")
    async with engine.begin() as connection:
        await connection.execute(update(held_windows).values(claimed_until=NOW - timedelta(days=9999)))
        await renew(connection, "w2", [held.ledger_id], 30.0)
        assert (await connection.scalar(select(held_windows.c.claimed_until))) == NOW - timedelta(days=9999)
        await renew(connection, "w1", [held.ledger_id], 30.0)
    assert await _due(engine, "w2") == []


async def test_a_rescheduled_record_stays_first_and_waits(engine: AsyncEngine) -> None:
    await _hold(engine, window(unit("b1")), window(unit("b2")))
    (held,) = await _due(engine)
    async with engine.begin() as connection:
        await reschedule(connection, "w1", held.ledger_id, NOW + timedelta(minutes=1), "still away")
    assert await _due(engine) == []
    async with engine.begin() as connection:
        (again,) = await due(connection, "w1", NOW + timedelta(minutes=2), 10, 30.0)
    assert (again.ledger_id, again.reason) == (held.ledger_id, "still away")


async def test_holding_again_changes_nothing(engine: AsyncEngine) -> None:
    first, second = window(unit("b1")), window(unit("b2"))
    await _hold(engine, first, second)
    await _hold(engine, first)
    async with engine.connect() as connection:
        held = await read_held(connection, "default", "ann", 10)
    assert [item.record for item in held] == [first, second]


async def _hold(engine: AsyncEngine, *records: object) -> None:
    async with engine.begin() as connection:
        for number, record in enumerate(records):
            await hold(connection, record, position(number), "away", NOW)  # type: ignore[arg-type]


async def _due(engine: AsyncEngine, worker: str = "w1", limit: int = 10) -> list[HeldRecord]:
    async with engine.begin() as connection:
        return await due(connection, worker, NOW, limit, 30.0)
