"""What is extracted for a shadow, on a real database: in rows of its own, and nowhere else."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import update as sql_update
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas import headers
from storage.applying import Application, ParkedUnit, ProfileMoved, UnitsMoved
from storage.commands import apply_command
from storage.dropping import drop_parked
from storage.reading import look_up_units, read_profile
from storage.shadow_tables import SHADOWS_OF_A_USER, shadow_letters, shadow_users, shadow_windows
from storage.shadows import (
    NewShadow,
    close_tails,
    create_shadow,
    note_closed_tails,
    read_shadow,
    read_shadows,
    set_max_cost,
    set_state,
)
from storage.tables import events, gists, ledger, outbox, profile_history, profiles, units, users
from tests.integration.storage.builders import (
    EXTRACTOR,
    NOW,
    application,
    apply_once,
    change,
    command,
    count_of,
    position,
    rows_of,
    unit,
    update,
    window,
)

LIVE_TABLES = (users, ledger, outbox)


def new_shadow(name: str = "b") -> NewShadow:
    return NewShadow(name, "", "chat-messages", {0: 5, 1: 7}, None, None, None, None, EXTRACTOR)


async def made(engine: AsyncEngine, name: str = "b") -> int:
    async with engine.begin() as connection:
        assert await create_shadow(connection, new_shadow(name), NOW)
        shadow = await read_shadow(connection, "", name)
    assert shadow is not None
    return shadow.generation


def in_shadow(generation: int, wanted: Application) -> Application:
    return replace(wanted, shadow=generation)


async def test_a_shadow_is_read_back_as_it_was_made_and_moves_on(engine: AsyncEngine) -> None:
    generation = await made(engine)
    later = await made(engine, "c")
    async with engine.begin() as connection:
        assert not await create_shadow(connection, new_shadow(), NOW)
        assert await read_shadow(connection, "another-", "b") is None
        await set_state(connection, generation, "running")
        await set_max_cost(connection, generation, Decimal("1.50"))
        await close_tails(connection, generation, NOW)
        await note_closed_tails(connection, generation, {0: 10, 1: 20})
        await note_closed_tails(connection, generation, {1: 30})
        shadow = await read_shadow(connection, "", "b")
        assert [found.generation for found in await read_shadows(connection, "")] == [generation, later]
    assert shadow is not None
    assert (shadow.begin_offsets, shadow.end_offsets, shadow.extractor) == ({0: 5, 1: 7}, None, EXTRACTOR)
    assert (shadow.state, shadow.max_cost, shadow.tails_before) == ("running", Decimal("1.50"), NOW)
    assert shadow.tails_closed == {0: 10, 1: 30}


async def test_an_application_for_a_shadow_leaves_live_memory_and_the_outbox_alone(engine: AsyncEngine) -> None:
    generation = await made(engine)
    memory = update(change("company", None, "Acme"), gists=["likes fish"], summary="Work")
    one = window(unit("b1", 3), unit("b2", 5))
    result = await apply_once(engine, in_shadow(generation, application(one, memory=memory)))
    assert (result.revision, result.profile_changes) == (1, 1)
    for table in LIVE_TABLES:
        assert await count_of(engine, table) == 0
    for table in (profiles, profile_history, events, gists, units):
        assert {row.generation for row in await rows_of(engine, table)} == {generation}
    (booked,) = await rows_of(engine, shadow_windows)
    assert (booked.window_id, booked.applied_count, booked.offset) == (one.window_id, 2, 100)
    async with engine.connect() as connection:
        assert (await read_profile(connection, "default", "ann")).slots == ()
        profile = await read_profile(connection, "default", "ann", generation)
        assert [(slot.topic, slot.content) for slot in profile.slots] == [("work", "Acme")]
        assert profile.revision == 1
        live = await look_up_units(connection, "default", "ann", ["b1"])
        own = await look_up_units(connection, "default", "ann", ["b1"], generation)
        assert (live.outcome(one.units[0]), own.outcome(one.units[0])) == ("new", "applied")


async def test_the_same_units_are_applied_once_in_each_memory(engine: AsyncEngine) -> None:
    first, second = await made(engine), await made(engine, "c")
    one = window(unit("b1"))
    for generation in (first, second):
        await apply_once(engine, in_shadow(generation, application(one)))
    await apply_once(engine, application(one))
    assert sorted(row.generation for row in await rows_of(engine, units)) == [0, first, second]
    with pytest.raises(UnitsMoved):
        await apply_once(engine, in_shadow(first, application(one)))


async def test_a_shadow_that_two_workers_extract_is_merged_again_by_the_later(engine: AsyncEngine) -> None:
    generation = await made(engine)
    memory = update(change("company", None, "Acme"))
    await apply_once(engine, in_shadow(generation, application(window(unit("b1")), memory=memory)))
    late = in_shadow(generation, application(window(unit("b2")), memory=memory, read_revision=0))
    with pytest.raises(ProfileMoved):
        await apply_once(engine, late)
    await apply_once(engine, replace(late, read_revision=1))
    (user,) = await rows_of(engine, shadow_users)
    assert user.revision >= 1


async def test_what_a_shadow_parks_waits_for_its_promotion(engine: AsyncEngine) -> None:
    generation = await made(engine)
    poison = unit("b1", 3)
    parked = ParkedUnit(poison, "content-rejected", "refused", 2)
    await apply_once(engine, in_shadow(generation, application(window(poison), applied=(), parked=[parked])))
    assert await count_of(engine, outbox) == 0
    (letter,) = await rows_of(engine, shadow_letters)
    assert (letter.blob_id, letter.headers[headers.ERROR_REASON]) == ("b1", "content-rejected")
    assert "I moved to Oslo" in letter.payload
    (row,) = await rows_of(engine, units)
    assert (row.generation, row.state) == (generation, "parked")


async def test_what_was_deleted_live_stays_out_of_a_shadow(engine: AsyncEngine) -> None:
    generation = await made(engine)
    async with engine.begin() as connection:
        assert await drop_parked(connection, "default", "ann", "b1", NOW)
        book = await look_up_units(connection, "default", "ann", ["b1"], generation)
    assert book.outcome(unit("b1")) == "erased"


async def test_a_forget_takes_a_user_out_of_all_shadows_and_keeps_out_what_was_said_before(
    engine: AsyncEngine,
) -> None:
    generation = await made(engine)
    said = unit("b1", 3)
    parked = ParkedUnit(unit("b2", 4), "content-rejected", "refused", 1)
    memory = update(change("company", None, "Acme"), summary="Work")
    wanted = application(window(said, unit("b2", 4)), memory=memory, applied=[said], parked=[parked])
    await apply_once(engine, in_shadow(generation, wanted))
    async with engine.begin() as connection:
        forget = command("forget-user", offset=50)
        await apply_command(connection, forget, position(7, "extraction-windows"), NOW, uuid4, {})
    for table in (*SHADOWS_OF_A_USER, profiles, profile_history, events, gists, units):
        assert await count_of(engine, table) == 0
    async with engine.connect() as connection:
        book = await look_up_units(connection, "default", "ann", ["b1"], generation)
    assert book.outcome(said) == "erased"


async def test_nobody_writes_a_shadow_of_a_user_once_it_is_their_live_memory(engine: AsyncEngine) -> None:
    generation = await made(engine)
    await apply_once(engine, application(window(unit("b0"))))
    async with engine.begin() as connection:
        await connection.execute(sql_update(users).values(live_generation=generation))
    later = NOW + timedelta(minutes=1)
    wanted = application(window(unit("b1")), memory=update(change("company", None, "Acme")))
    result = await apply_once(engine, in_shadow(generation, wanted), later)
    assert (result.profile_changes, result.event_id) == (0, None)
    assert await count_of(engine, profiles) == 0
    assert [row.blob_id for row in await rows_of(engine, units)] == ["b0"]
