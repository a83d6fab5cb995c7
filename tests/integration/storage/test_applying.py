"""The one transaction of an extraction, on a real database."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update as sql_update
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas import headers
from schemas.changes import (
    EVENT_UPDATED_TYPE,
    PROFILE_UPDATED_TYPE,
    EventChanged,
    ProfileChanged,
    ProfileState,
)
from schemas.memory import MemoryUpdate
from schemas.windows import Unit
from storage import browsing, leases, outbox
from storage.applying import ParkedUnit, ProfileMoved, UnitsMoved, apply
from storage.ledger import CHANNEL, UnitCounts, read_ledger
from storage.listening import listen
from storage.reading import look_up_units, read_profile
from storage.tables import blobs, events, gists, ledger, profile_history, profiles, units, users
from storage.tables import outbox as outbox_table
from storage.units import ID_CONFLICT
from tests.integration.storage.builders import (
    NOW,
    application,
    apply_once,
    change,
    count_of,
    outbox_rows,
    piece,
    position,
    remember,
    rows_of,
    unit,
    update,
    window,
)

MEMORY_TABLES = (profiles, profile_history, events, gists, units, ledger, outbox_table)


async def test_an_application_writes_profile_history_event_gists_units_ledger_and_outbox(
    engine: AsyncEngine,
) -> None:
    memory = update(change("company", None, "Acme"), gists=["moved to Oslo", "likes fish"], summary="A move")
    one = window(unit("b1", 3), unit("b2", 5))

    result = await apply_once(engine, application(one, memory=memory))

    assert (result.revision, result.profile_changes, result.gists, result.dead_letters) == (1, 1, 2, 0)
    async with engine.connect() as connection:
        profile = await read_profile(connection, "default", "ann")
        assert [(s.topic, s.sub_topic, s.content, s.message_ids) for s in profile.slots] == [
            ("work", "company", "Acme", ("b1/0",))
        ]
        assert profile.revision == 1
        (history,) = await browsing.read_history(connection, "default", "ann")
        assert (history.op, history.before, history.after, history.revision) == ("c", None, "Acme", 1)
        assert history.window_ids == (one.window_id,)
        assert history.extractor is not None
        assert history.extractor["prompt_hash"] == "0000"
        (event,) = await browsing.read_events(connection, "default", "ann", 10)
        assert event.event_id == result.event_id
        assert [gist.text for gist in event.gists] == ["moved to Oslo", "likes fish"]
        attributes = {"topic": "work", "sub_topic": "company"}
        assert event.profile_delta == [{"content": "Acme", "attributes": attributes, "message_ids": ["b1/0"]}]
        book = await look_up_units(connection, "default", "ann", ["b1", "b2"])
        assert [book.outcome(item) for item in one.units] == ["applied", "applied"]
        row = (await read_ledger(connection, [one.window_id]))[one.window_id]
        assert (row.outcome, row.counts) == ("applied", UnitCounts(applied=2))
        assert row.position.offset == 100


async def test_change_events_hold_before_and_after_and_the_profiles_row_the_whole_state(
    engine: AsyncEngine,
) -> None:
    first = update(change("company", None, "Acme"), change("role", None, "cook"), summary="A job")
    await apply_once(engine, application(window(unit("b1", 3), unit("b2", 7)), memory=first))
    second = update(change("company", "Acme", "Bolt"), change("role", "cook", None))
    await apply_once(engine, application(window(unit("b3", 9)), read_revision=1, memory=second))

    rows = await outbox_rows(engine)

    assert [(row.aggregate_type, row.seq) for row in rows] == [
        ("profile-updated", 1),
        ("profile-updated", 2),
        ("event-updated", 3),
        ("profiles", 4),
        ("profile-updated", 5),
        ("profile-updated", 6),
        ("event-updated", 7),
        ("profiles", 8),
    ]
    changes = [
        ProfileChanged.model_validate_json(row.payload or "") for row in rows if row.type == PROFILE_UPDATED_TYPE
    ]
    happened = [EventChanged.model_validate_json(row.payload or "") for row in rows if row.type == EVENT_UPDATED_TYPE]
    assert [(item.op, item.revision) for item in changes] == [("c", 1), ("c", 1), ("u", 2), ("d", 2)]
    assert [(item.op, item.revision) for item in happened] == [("c", 1), ("c", 2)]
    assert changes[2].before is not None
    assert changes[2].after is not None
    assert (changes[2].before.content, changes[2].after.content) == ("Acme", "Bolt")
    assert (changes[2].before.id, changes[2].after.update_hits) == (changes[2].after.id, 1)
    assert changes[3].after is None
    assert happened[0].after is not None
    assert happened[0].after.summary == "A job"
    source = changes[0].source
    assert (source.topic, source.partition, source.offset_from, source.offset_to) == ("chat-messages", 0, 3, 7)
    state = ProfileState.model_validate_json(rows[-1].payload or "")
    assert (state.revision, [entry.content for entry in state.profile]) == (2, ["Bolt"])


async def test_change_rows_carry_cloudevents_headers_with_the_rows_own_id(engine: AsyncEngine) -> None:
    memory = update(change("company", None, "Acme"))
    await apply_once(engine, application(window(unit("b1"), project_id="a b"), memory=memory))
    row = (await outbox_rows(engine))[0]
    assert row.aggregate_id == "a b/ann"
    assert row.headers == {
        "ce_specversion": "1.0",
        "ce_id": str(row.id),
        "ce_type": "memostream.profile.updated.v1",
        "ce_source": "/memostream/a%20b",
        "ce_subject": "ann",
        "ce_time": "2026-11-20T12:00:00Z",
        "content-type": "application/json",
    }


async def test_the_same_application_again_is_refused_and_leaves_nothing(engine: AsyncEngine) -> None:
    wanted = application(window(unit("b1")), memory=update(change("company", None, "Acme"), summary="A job"))
    await apply_once(engine, wanted)
    before = [await rows_of(engine, table) for table in MEMORY_TABLES]
    with pytest.raises(UnitsMoved):
        await apply_once(engine, replace(wanted, read_revision=1))
    assert [await rows_of(engine, table) for table in MEMORY_TABLES] == before


async def test_a_second_delivery_with_all_units_skipped_keeps_only_the_first_ledger_row(
    engine: AsyncEngine,
) -> None:
    one = window(unit("b1"))
    await apply_once(engine, application(one, memory=update(change("company", None, "Acme"))))
    before = [await rows_of(engine, table) for table in (*MEMORY_TABLES, users)]
    result = await apply_once(
        engine,
        application(one, read_revision=1, applied=(), skipped=[(one.units[0], "applied")]),
        NOW + timedelta(hours=1),
    )
    assert result.revision == 1
    assert [await rows_of(engine, table) for table in (*MEMORY_TABLES, users)] == before


async def test_a_window_of_duplicates_alone_writes_only_a_ledger_row(engine: AsyncEngine) -> None:
    await apply_once(engine, application(window(unit("b1"), unit("b2"))))
    again = window(unit("b1", 8))
    await apply_once(engine, application(again, applied=(), skipped=[(again.units[0], "applied")]))
    async with engine.connect() as connection:
        row = (await read_ledger(connection, [again.window_id]))[again.window_id]
    assert (row.outcome, row.counts) == ("duplicate", UnitCounts(duplicate=1))
    assert await count_of(engine, units) == 2


async def test_two_workers_with_the_same_window_apply_it_once(engine: AsyncEngine) -> None:
    wanted = application(window(unit("b1")), memory=update(change("company", None, "Acme"), summary="A job"))
    results = await asyncio.gather(*(apply_once(engine, wanted) for _ in range(4)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["AppliedResult", *["UnitsMoved"] * 3]
    assert [await count_of(engine, table) for table in (profiles, events, units, ledger)] == [1, 1, 1, 1]


async def test_a_profile_that_moved_since_it_was_read_is_refused(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    wanted = application(window(unit("b2")), read_revision=0, memory=update(change("role", None, "cook")))
    with pytest.raises(ProfileMoved):
        await apply_once(engine, wanted)
    assert (await apply_once(engine, replace(wanted, read_revision=1))).revision == 2


async def test_units_without_anything_to_remember_do_not_move_the_revision(engine: AsyncEngine) -> None:
    result = await apply_once(engine, application(window(unit("b1"))))
    assert result.revision == 0
    assert await rows_of(engine, users, "revision", "seq") == [(0, 0)]
    assert await count_of(engine, units) == 1


async def test_a_change_that_leaves_the_slot_as_it_is_publishes_nothing(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    same = MemoryUpdate(changes=(change("company", "Acme", "Acme"), change("gone", "x", None)))
    result = await apply_once(engine, application(window(unit("b2")), read_revision=1, memory=same))
    assert (result.revision, result.profile_changes) == (1, 0)
    assert await rows_of(engine, users, "revision", "seq") == [(1, 3)]


async def test_a_parked_blob_becomes_one_dead_letter_with_its_pieces_and_its_position(
    engine: AsyncEngine,
) -> None:
    whole = unit("b1", 4, text="a\x00b", origin=position(77, "other", timestamp_ms=5))
    poison = [ParkedUnit(piece(whole, index), "content-rejected", "refused", 2) for index in (1, 2)]

    result = await apply_once(
        engine,
        application(
            window(whole), memory=update(change("company", None, "A")), applied=[piece(whole, 0)], parked=poison
        ),
    )

    assert result.dead_letters == 1
    row = (await outbox_rows(engine))[-1]
    assert (row.aggregate_type, row.aggregate_id) == ("dead-letters", "ann")
    assert row.headers == {
        headers.BLOB_ID: "b1",
        headers.ERROR_TOPIC: "chat-messages",
        headers.ERROR_PARTITION: "0",
        headers.ERROR_OFFSET: "4",
        headers.ERROR_TIMESTAMP: str(whole.position.timestamp_ms),
        headers.ERROR_STAGE: "extract",
        headers.ERROR_REASON: "content-rejected",
        headers.ERROR_MESSAGE: "refused",
        headers.ERROR_ATTEMPTS: "2",
        headers.ERROR_PIECES: "[[1,null],[2,null]]",
        headers.ORIGIN_TOPIC: "other",
        headers.ORIGIN_PARTITION: "0",
        headers.ORIGIN_OFFSET: "77",
        headers.ORIGIN_TIMESTAMP: "5",
        "content-type": "application/json",
    }
    assert json.loads(row.payload or "") == {
        "v": 1,
        "id": "b1",
        "project_id": "default",
        "user_id": "ann",
        **whole.content,
    }
    async with engine.connect() as connection:
        book = await look_up_units(connection, "default", "ann", ["b1"])
    assert book.outcome(whole) == "parked"
    assert book.pieces(whole) == {("b1", 0, -1): "applied", ("b1", 1, -1): "parked", ("b1", 2, -1): "parked"}


async def test_what_was_parked_is_applied_when_it_is_tried_again(engine: AsyncEngine) -> None:
    poison = unit("b1", 4)
    parked = [ParkedUnit(poison, "content-rejected", "refused", 2)]
    await apply_once(engine, application(window(poison), applied=(), parked=parked))
    redriven = unit("b1", 9, origin=poison.position)

    await apply_once(engine, application(window(redriven), memory=update(change("company", None, "Acme"))))

    assert await rows_of(engine, units, "state", "reason", "offset", "origin_offset") == [("applied", None, 9, 4)]


async def test_a_second_delivery_of_a_parked_unit_writes_no_second_dead_letter(engine: AsyncEngine) -> None:
    poison = unit("b1", 4)
    wanted = application(window(poison), applied=(), parked=[ParkedUnit(poison, "content-rejected", "refused", 2)])
    await apply_once(engine, wanted)
    await apply_once(engine, wanted)
    assert len(await outbox_rows(engine)) == 1
    assert await count_of(engine, units) == 1


async def test_a_whole_blob_with_an_applied_piece_is_refused(engine: AsyncEngine) -> None:
    whole = unit("b1")
    parked = [ParkedUnit(piece(whole, 1), "content-rejected", "refused", 2)]
    await apply_once(engine, application(window(whole), applied=[piece(whole, 0)], parked=parked))
    with pytest.raises(UnitsMoved):
        await apply_once(engine, application(window(unit("b1", 8))))
    await apply_once(engine, application(window(unit("b1", 8)), applied=[piece(unit("b1", 8), 1)]))
    async with engine.connect() as connection:
        assert (await look_up_units(connection, "default", "ann", ["b1"])).outcome(whole) == "applied"


async def test_another_blob_under_the_same_id_is_parked_beside_the_first(engine: AsyncEngine) -> None:
    rightful, other = unit("b1", 1), unit("b1", 2, text="something else")
    await apply_once(engine, application(window(rightful)))
    conflict = [ParkedUnit(other, ID_CONFLICT, "the id is taken", 0)]
    for _ in range(2):
        await apply_once(engine, application(window(other), applied=(), parked=conflict))
    async with engine.connect() as connection:
        book = await look_up_units(connection, "default", "ann", ["b1"])
    assert (book.outcome(rightful), book.outcome(other)) == ("applied", "conflict")
    assert len(await outbox_rows(engine)) == 1


async def test_nul_characters_are_stripped_from_memory_and_published_without(engine: AsyncEngine) -> None:
    memory = update(change("com\x00pany", None, "Ac\x00me"), gists=["a\x00b", "lone \ud83d here"], summary="x\x00y")
    await apply_once(engine, application(window(unit("b1", text="\x00")), memory=memory, keep_blobs=True))
    assert await rows_of(engine, profiles, "sub_topic", "content") == [("company", "Acme")]
    assert await rows_of(engine, gists, "text") == [("ab",), ("lone ? here",)]
    assert not any("u0000" in (row.payload or "") for row in await outbox_rows(engine))
    ((content,),) = await rows_of(engine, blobs, "content")
    assert json.loads(content)["blob_data"]["messages"][0]["content"] == "\x00"


async def test_only_the_live_generation_is_read_and_written(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    async with engine.begin() as connection:
        await connection.execute(sql_update(users).values(live_generation=7))
    async with engine.connect() as connection:
        assert (await read_profile(connection, "default", "ann")).slots == ()
        book = await look_up_units(connection, "default", "ann", ["b1"])
        assert book.outcome(unit("b1")) == "new"
    await remember(engine, "b1", "Bolt")
    assert await rows_of(engine, profiles, "generation", "content") == [(0, "Acme"), (7, "Bolt")]


async def test_users_of_two_projects_with_one_id_are_apart(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme", project_id="one")
    await remember(engine, "b1", "Bolt", project_id="two")
    assert await rows_of(engine, profiles, "project_id", "content") == [("one", "Acme"), ("two", "Bolt")]


async def test_two_windows_extracted_together_have_a_ledger_row_each_and_one_event(
    engine: AsyncEngine,
) -> None:
    windows = window(unit("b1")), window(unit("b2"), unit("b3"))
    await apply_once(engine, application(*windows, memory=update(summary="both")))
    assert await rows_of(engine, ledger, "applied_count") == [(1,), (2,)]
    assert await count_of(engine, events) == 1


async def test_a_duplicate_counts_for_the_window_that_holds_it(engine: AsyncEngine) -> None:
    first, again = unit("b1", offset=1), unit("b1", offset=3)
    windows = window(first, unit("b2", offset=2)), window(again, unit("b3", offset=4))
    applied = [item for one in windows for item in one.units if item != again]
    await apply_once(engine, application(*windows, applied=applied, skipped=[(again, "applied")]))
    assert await rows_of(engine, ledger, "applied_count", "duplicate_count") == [(1, 1), (2, 0)]


async def test_whoever_listens_is_told_of_the_ledger_row_and_of_the_outbox(engine: AsyncEngine) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def hear(channel: str, listening: asyncio.Event) -> asyncio.Task[None]:
        return asyncio.create_task(
            listen(engine, channel, lambda payload: heard.put_nowait((channel, payload)), listening.set)
        )

    listening = [asyncio.Event(), asyncio.Event()]
    tasks = [hear(CHANNEL, listening[0]), hear(leases.CHANNEL, listening[1])]
    for event in listening:
        await event.wait()
    one = window(unit("b1"))
    await apply_once(engine, application(one, memory=update(change("company", None, "Acme"))))
    expected = {
        (CHANNEL, str(one.window_id)),
        (leases.CHANNEL, str(outbox.slot_of("default", "ann"))),
    }
    assert {await heard.get(), await heard.get()} == expected
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_rolled_back_application_leaves_no_trace(engine: AsyncEngine) -> None:
    wanted = application(window(unit("b1")), memory=update(change("company", None, "Acme"), summary="A job"))
    async with engine.connect() as connection:
        await apply(connection, wanted, NOW, uuid4)
        await connection.rollback()
    assert [await count_of(engine, table) for table in (*MEMORY_TABLES, users)] == [0] * 8
    await apply_once(engine, wanted)


async def test_a_unit_named_twice_is_a_bug_and_not_applied(engine: AsyncEngine) -> None:
    same: Unit = unit("b1")
    with pytest.raises(ValueError, match="twice"):
        await apply_once(engine, application(window(same), applied=[same, piece(same, 0)]))
