"""Commands on a real database: a flush is told to be done, a forget removes the user."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.windows import Window, WindowCommand
from storage.applying import UnitsMoved
from storage.columns import metadata
from storage.commands import apply_command, has_arrived
from storage.forgetting import count_rows, not_forgotten
from storage.holding import hold, read_held
from storage.ledger import command_ledger_id, read_ledger
from storage.reading import look_up_units, read_profile
from storage.tables import (
    OF_A_USER,
    events,
    forgotten_users,
    gists,
    held_windows,
    ledger,
    profile_history,
    profiles,
    units,
    users,
)
from storage.tables import outbox as outbox_table
from tests.integration.storage.builders import (
    NOW,
    NOW_MS,
    application,
    apply_once,
    command,
    count_of,
    outbox_rows,
    position,
    remember,
    rows_of,
    unit,
    window,
)

AT = position(200, "extraction-windows")


async def test_a_flush_leaves_a_ledger_row_under_the_id_of_its_position(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    flush = command("flush")
    await _apply(engine, flush)
    async with engine.connect() as connection:
        rows = await read_ledger(connection, [command_ledger_id(flush)])
    (row,) = rows.values()
    assert (row.kind, row.command_id, row.user_id, row.outcome) == ("flush", "command-50", "ann", "done")


async def test_a_flush_that_is_read_after_a_forget_names_nobody(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    flush = command("flush", offset=40)
    await _apply(engine, flush)
    await _apply(engine, command("forget-user", offset=50))
    # Once more, as when the topic is read from its beginning, and one that was on its way.
    await _apply(engine, flush)
    await _apply(engine, command("flush", offset=51))
    rows = await rows_of(engine, ledger, "kind", "user_id", "command_id")
    assert sorted(rows) == [("flush", None, None), ("flush", None, None), ("forget-user", None, None)]


async def test_a_forget_that_was_done_before_says_when_extraction_has_come_to_it(engine: AsyncEngine) -> None:
    forget = command("forget-user")
    async with engine.begin() as connection:
        await apply_command(connection, forget, forget.position, NOW, uuid4)
        assert not await has_arrived(connection, forget)
    await remember(engine, "b9", "Bolt", offset=90)
    await _apply(engine, forget)
    async with engine.connect() as connection:
        assert await has_arrived(connection, forget)
    assert await rows_of(engine, ledger, "topic", "offset") == [
        ("extraction-windows", 100),
        ("extraction-windows", 200),
    ]
    assert await rows_of(engine, profiles, "content") == [("Bolt",)]


async def test_what_a_forget_covers_is_not_held_after_it(engine: AsyncEngine) -> None:
    await _apply(engine, command("forget-user", offset=50))
    before, after = window(unit("b1", 40)), window(unit("b2", 60))
    mixed = window(unit("b3", 41), unit("b4", 61))
    flush = command("flush", offset=42)
    sent: tuple[Window | WindowCommand, ...] = (before, after, mixed, flush)
    records = [(record, position(number, "extraction-windows")) for number, record in enumerate(sent)]
    async with engine.begin() as connection:
        left = await not_forgotten(connection, "default", "ann", records)
    assert [place.offset for _, place in left] == [1, 2]
    assert [[item.blob_id for item in record.units] for record, _ in left if isinstance(record, Window)] == [
        ["b2"],
        ["b4"],
    ]


async def test_a_forget_waits_for_whoever_is_about_to_hold_windows_of_the_user(engine: AsyncEngine) -> None:
    late = window(unit("b1", 40))
    async with engine.begin() as holding:
        ((record, place),) = await not_forgotten(holding, "default", "ann", [(late, position(7))])
        forgetting = asyncio.create_task(_apply(engine, command("forget-user", offset=50)))
        await asyncio.sleep(0.2)
        assert not forgetting.done()
        await hold(holding, record, place, "away", NOW)
    await forgetting
    assert await count_of(engine, held_windows) == 0


async def test_every_generation_goes_and_nothing_names_the_user(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    await remember(engine, "b2", "Bolt", user_id="bob")
    async with engine.begin() as connection:
        for table in (profiles, profile_history, events, gists, units):
            await connection.execute(update(table).where(table.c.user_id == "ann").values(generation=7))
        assert (await count_rows(connection, "default", "ann"))["profiles"] == 1
    await _apply(engine, command("forget-user"))
    async with engine.connect() as connection:
        found = await count_rows(connection, "default", "ann")
    assert {name: count for name, count in found.items() if count} == {"outbox": 1}
    assert set(found) == {table.name for table in metadata.tables.values() if "user_id" in table.c}


async def test_a_forwarded_command_is_the_same_command() -> None:
    sent = command("flush", offset=3)
    copy = sent.model_copy(update={"position": position(9), "origin": sent.position})
    assert command_ledger_id(copy) == command_ledger_id(sent)


async def test_a_forget_leaves_a_hash_a_tombstone_and_a_nameless_ledger_row(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    await remember(engine, "b2", "Bolt", user_id="bob")
    async with engine.begin() as connection:
        await hold(connection, window(unit("b3")), position(1), "away", NOW)

    await _apply(engine, command("forget-user"))

    for table in (users, held_windows, ledger, *OF_A_USER):
        if table is not outbox_table:
            assert "ann" not in {row[0] for row in await rows_of(engine, table, "user_id")}
    left = [row for row in await outbox_rows(engine) if row.user_id == "ann"]
    assert [(row.aggregate_type, row.aggregate_id, row.payload, row.seq) for row in left] == [
        ("profiles", "default/ann", None, 4)
    ]
    ((user_hash, last_revision, last_seq),) = await rows_of(
        engine, forgotten_users, "user_hash", "last_revision", "last_seq"
    )
    assert (len(user_hash), last_revision, last_seq) == (64, 2, 4)
    assert await rows_of(engine, profiles, "user_id", "content") == [("bob", "Bolt")]


async def test_what_was_sent_before_the_forget_is_erased_and_what_came_after_is_new(
    engine: AsyncEngine,
) -> None:
    async with engine.begin() as connection:
        ends = {("chat-messages", 0): 60, ("source", 2): 10}
        await apply_command(connection, command("forget-user", offset=50), AT, NOW, uuid4, ends)
    before = unit("b1", 40)
    meanwhile = unit("b2", 55, position=position(55, timestamp_ms=NOW_MS + 1))
    after = unit("b3", 60)
    source = unit("b4", 70, origin=position(5, "source").model_copy(update={"partition": 2}))
    async with engine.connect() as connection:
        book = await look_up_units(connection, "default", "ann", ["b1", "b2", "b3", "b4"])
    assert [book.outcome(item) for item in (before, meanwhile, after, source)] == [
        "erased",
        "new",
        "new",
        "erased",
    ]


async def test_an_erased_window_that_comes_after_does_not_name_the_user_again(engine: AsyncEngine) -> None:
    await _apply(engine, command("forget-user", offset=50))
    late = window(unit("b1", 40))
    await apply_once(engine, application(late, applied=(), skipped=[(late.units[0], "erased")]))
    assert await count_of(engine, users) == 0
    assert await rows_of(engine, ledger, "kind", "outcome", "user_id", "erased_count") == [
        ("forget-user", "done", None, 0),
        ("window", "erased", None, 1),
    ]


async def test_a_window_that_a_forget_overtook_is_refused_under_the_lock(engine: AsyncEngine) -> None:
    await _apply(engine, command("forget-user", offset=50))
    with pytest.raises(UnitsMoved):
        await apply_once(engine, application(window(unit("b1", 40))))


async def test_a_user_who_comes_back_goes_on_from_the_last_revision_and_seq(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    await _apply(engine, command("forget-user"))
    async with engine.connect() as connection:
        profile = await read_profile(connection, "default", "ann")
    assert (profile.revision, profile.slots) == (2, ())

    result = await remember(engine, "b9", "Bolt", offset=90)

    assert result.revision == 3
    assert await rows_of(engine, users, "revision", "seq") == [(3, 7)]


async def test_a_second_delivery_of_a_forget_spares_what_was_said_since(engine: AsyncEngine) -> None:
    forget = command("forget-user")
    await _apply(engine, forget)
    await remember(engine, "b9", "Bolt", offset=90)
    await _apply(engine, forget)
    assert await rows_of(engine, profiles, "content") == [("Bolt",)]


async def test_a_held_forget_spares_what_is_held_behind_it(engine: AsyncEngine) -> None:
    forget = command("forget-user")
    later = window(unit("b2", 90))
    async with engine.begin() as connection:
        await hold(connection, window(unit("b1", 10)), position(1), "away", NOW)
        await hold(connection, forget, position(2), "behind", NOW)
        await hold(connection, later, position(3), "behind", NOW)
    await _apply(engine, forget)
    async with engine.connect() as connection:
        left = [held.record for held in await read_held(connection, "default", "ann", 10)]
    assert left == [forget, later]


async def test_a_second_forget_widens_the_cut_off(engine: AsyncEngine) -> None:
    later_ms = NOW_MS + 3_600_000
    await _apply(engine, command("forget-user", offset=50))
    await _apply(engine, command("forget-user", offset=90, timestamp_ms=later_ms))
    ((forgotten_at, offsets),) = await rows_of(engine, forgotten_users, "forgotten_at", "offsets")
    assert forgotten_at == datetime.fromtimestamp(later_ms / 1000, UTC)
    assert offsets == {"chat-messages": {"0": 90}}
    assert await count_of(engine, ledger) == 2


async def _apply(engine: AsyncEngine, wanted: WindowCommand) -> None:
    async with engine.begin() as connection:
        await apply_command(connection, wanted, AT, NOW + timedelta(minutes=1), uuid4)
