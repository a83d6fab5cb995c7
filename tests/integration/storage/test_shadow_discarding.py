"""A shadow that is discarded leaves no row, wherever it is stopped, and takes nothing of live memory along."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.applying import ParkedUnit
from storage.shadow_comparing import BothSides, SlotEdit, count_unknown, read_both, unpromoted_pages
from storage.shadow_counts import ShadowCounts, count_shadow
from storage.shadow_discarding import discard_shadow, discard_users
from storage.shadow_tables import shadow_letters, shadow_users, shadow_windows, shadows
from storage.tables import edit_history, events, gists, profile_history, profiles, units, users
from storage.user_listing import UserKey
from tests.integration.storage.builders import (
    NOW,
    application,
    apply_once,
    change,
    count_of,
    remember,
    rows_of,
    unit,
    window,
)
from tests.integration.storage.builders import update as memory_of
from tests.integration.storage.shadow_rows import apply_in_shadow, seed_shadow

USERS = ("ann", "bob", "cid")
MEMORY = (profiles, profile_history, edit_history, events, gists, units)


async def fill(engine: AsyncEngine, generation: int, user_ids: Sequence[str] = USERS) -> None:
    for user_id in user_ids:
        memory = memory_of(change("company", None, "Hooli"), gists=["joined Hooli"], summary="work")
        told, refused = unit("b1", 1), unit("b2", 2)
        parked = [ParkedUnit(refused, "rejected", "", 1)]
        named = window(told, refused, user_id=user_id)
        await apply_in_shadow(engine, generation, application(named, memory=memory, applied=[told], parked=parked))


async def discard_all(engine: AsyncEngine, generation: int, page: int = 2) -> int:
    removed, last = 0, ("", "")
    while True:
        async with engine.begin() as connection:
            following, number = await discard_users(connection, generation, last, page)
        if following is None:
            break
        removed, last = removed + number, following
    async with engine.begin() as connection:
        await discard_shadow(connection, generation)
    return removed


async def all_rows(engine: AsyncEngine) -> dict[str, list[Any]]:
    return {table.name: await rows_of(engine, table) for table in (*MEMORY, users)}


async def test_no_row_is_left_and_live_memory_is_as_it_was(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    before = await all_rows(engine)
    generation = await seed_shadow(engine)
    await fill(engine, generation)
    async with engine.connect() as connection:
        assert await count_shadow(connection, generation) == ShadowCounts(3, 0, 3, 3, 3, 3)
    assert await discard_all(engine, generation) == 3
    assert await all_rows(engine) == before
    tables = (shadows, shadow_users, shadow_windows, shadow_letters)
    assert [await count_of(engine, table) for table in tables] == [0, 0, 0, 0]


async def test_one_that_was_stopped_goes_on_where_it_was(engine: AsyncEngine) -> None:
    generation = await seed_shadow(engine)
    await fill(engine, generation)
    async with engine.begin() as connection:
        assert await discard_users(connection, generation, ("", ""), 2) == (("default", "bob"), 2)
    assert await rows_of(engine, profiles, "user_id") == [("cid",)]
    assert await rows_of(engine, shadows, "name") == [("better",)]
    assert await discard_all(engine, generation) == 1
    assert [await count_of(engine, table) for table in MEMORY] == [0] * len(MEMORY)


async def test_another_shadow_stays(engine: AsyncEngine) -> None:
    one, other = await seed_shadow(engine), await seed_shadow(engine, "other")
    await fill(engine, one)
    await fill(engine, other)
    await discard_all(engine, one)
    assert await rows_of(engine, profiles, "generation", "user_id") == [(other, user_id) for user_id in USERS]
    assert await rows_of(engine, shadows, "name") == [("other",)]


async def test_who_is_promoted_keeps_that_memory_also_as_history_once_another_one_took_its_place(
    engine: AsyncEngine,
) -> None:
    generation = await seed_shadow(engine, state="promoted")
    await fill(engine, generation)
    other = await seed_shadow(engine, "other")
    async with engine.begin() as connection:
        for user_id, live in (("ann", generation), ("bob", other)):
            named = {"project_id": "default", "user_id": user_id, "created_at": NOW, "updated_at": NOW}
            await connection.execute(insert(users).values(**named, live_generation=live))
            of_user = (shadow_users.c.generation == generation, shadow_users.c.user_id == user_id)
            await connection.execute(update(shadow_users).where(*of_user).values(promoted_at=NOW))
    assert await discard_all(engine, generation) == 1
    assert await rows_of(engine, profiles, "user_id") == [("ann",), ("bob",)]
    assert await rows_of(engine, profile_history, "user_id") == [("ann",), ("bob",)]
    assert await count_of(engine, shadow_users) == 0


async def test_both_sides_of_a_user_are_read_and_users_come_in_pages(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    await remember(engine, "b1", "Acme", user_id="zoe")
    generation = await seed_shadow(engine)
    await fill(engine, generation)
    by_hand = {"topic": "work", "sub_topic": "company", "op": "u", "occurred_at": NOW, "recorded_at": NOW}
    async with engine.begin() as connection:
        profile_id = await connection.scalar(select(profiles.c.profile_id).where(profiles.c.generation == 0).limit(1))
        owner = {"project_id": "default", "user_id": "ann", "profile_id": profile_id, "revision": 2, **by_hand}
        for why, after in (("edited", "ACME"), ("blob-deleted", None)):
            await connection.execute(insert(profile_history).values(**owner, why=why, after=after))
    async with engine.connect() as connection:
        pages: list[list[UserKey]] = [page async for page in unpromoted_pages(connection, generation, 2)]
        only = [page async for page in unpromoted_pages(connection, generation, 2, "default", "bob")]
        sides = await read_both(connection, "default", "ann", generation)
        nothing = await read_both(connection, "default", "cid", generation)
        unknown = await count_unknown(connection, generation, "default")
    assert pages == [[("default", "ann"), ("default", "bob")], [("default", "cid")]]
    assert only == [[("default", "bob")]]
    assert [[row.content for row in side] for side in (sides.live, sides.shadow)] == [["Acme"], ["Hooli"]]
    assert sides.edits == [SlotEdit("work", "company", "ACME", NOW)]
    assert (sides.live_events, sides.shadow_events, sides.parked) == (1, 1, [("b2", "rejected")])
    assert nothing == BothSides([], nothing.shadow, [], 0, 1, [("b2", "rejected")])
    assert unknown == 1


async def test_what_is_parked_live_as_well_is_no_difference(engine: AsyncEngine) -> None:
    refused = unit("b2", 2)
    parked = [ParkedUnit(refused, "rejected", "", 1)]
    await apply_once(engine, application(window(refused), applied=[], parked=parked))
    generation = await seed_shadow(engine)
    await fill(engine, generation, ["ann"])
    async with engine.connect() as connection:
        assert (await read_both(connection, "default", "ann", generation)).parked == []
