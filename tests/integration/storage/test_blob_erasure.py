"""Deleting a blob removes what memory holds of it alone, tells subscribers, and keeps it from coming back."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.application import plan_units
from schemas.memory import Quote
from schemas.windows import MessageId, Unit
from storage.applying import UnitsMoved
from storage.blob_erasure import Erasure, erase_blob
from storage.browsing import read_events, read_history, read_profile_entries
from storage.editing import Edits
from storage.editing_events import EventEdit, EventText, change_event, remove_event
from storage.editing_profiles import change_entry, remove_entry
from storage.holding import hold
from storage.reading import look_up_units, read_profile
from storage.tables import (
    blobs,
    edit_history,
    events,
    gists,
    held_windows,
    ledger,
    outbox,
    profile_history,
    profiles,
    units,
    users,
)
from tests.integration.storage.builders import (
    NOW,
    application,
    apply_once,
    change,
    count_of,
    position,
    remember,
    rows_of,
    unit,
    update,
    window,
)

LATER = NOW + timedelta(minutes=5)
SECRET = "the secret word"


async def erase(engine: AsyncEngine, blob_id: str, user_id: str = "ann") -> Erasure:
    async with engine.begin() as connection:
        return await erase_blob(connection, "default", user_id, blob_id, LATER, uuid4)


async def published(engine: AsyncEngine, kind: str) -> list[dict[str, Any]]:
    query = select(outbox.c.payload).where(outbox.c.aggregatetype == kind, outbox.c.created_at == LATER)
    async with engine.connect() as connection:
        return [orjson.loads(row) for row in (await connection.scalars(query.order_by(outbox.c.seq))).all()]


async def text_anywhere(engine: AsyncEngine, words: str) -> list[str]:
    """Tables, less what waits to be published, that hold the words."""
    tables = [blobs, edit_history, events, gists, held_windows, profile_history, profiles, units, users]
    found = []
    async with engine.connect() as connection:
        for table in tables:
            query = text(f"SELECT count(*) FROM {table.name} AS t WHERE t::text LIKE :words")
            if await connection.scalar(query, {"words": f"%{words}%"}):
                found.append(table.name)
    return found


async def outcome_of(engine: AsyncEngine, arriving: Unit, user_id: str = "ann") -> str:
    async with engine.connect() as connection:
        return (await look_up_units(connection, "default", user_id, {arriving.blob_id})).outcome(arriving)


async def test_all_that_rests_on_the_blob_alone_is_gone_and_subscribers_are_told(engine: AsyncEngine) -> None:
    said = unit("b1", text=SECRET)
    quote = Quote(MessageId("b1/0"), SECRET)
    memory = update(change("company", None, SECRET), gists=[SECRET], summary=SECRET)
    memory = replace(
        memory,
        changes=(replace(memory.changes[0], quotes=(quote,)),),
        extraction=replace(memory.extraction, gists=(replace(memory.extraction.gists[0], quote=quote),)),
    )
    await apply_once(engine, application(window(said), memory=memory, keep_blobs=True))
    assert await text_anywhere(engine, SECRET) == ["blobs", "events", "gists", "profile_history", "profiles"]

    result = await erase(engine, "b1")

    assert (result.profile_changes, result.event_changes) == (1, 1)
    assert await text_anywhere(engine, SECRET) == []
    assert await outcome_of(engine, said) == "erased"
    (of_profile,) = await published(engine, "profile-updated")
    (of_event,) = await published(engine, "event-updated")
    (state,) = await published(engine, "profiles")
    assert (of_profile["op"], of_profile["before"]["sub_topic"], of_profile["before"]["content"]) == (
        "d",
        "company",
        "",
    )
    assert (of_event["op"], of_event["before"]["summary"], of_event["before"]["gists"]) == ("d", None, [])
    assert state["profile"] == []
    assert of_profile["revision"] == of_event["revision"] == state["revision"] == result.revision == 2
    async with engine.connect() as connection:
        (left,) = await read_history(connection, "default", "ann")
    assert (left.op, left.why, left.before, left.after) == ("d", "blob-deleted", None, None)


async def test_an_entry_goes_back_to_what_other_messages_said_and_can_be_deleted_with_them(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme", offset=1)
    await remember(engine, "b2", SECRET, offset=2)
    await erase(engine, "b2")
    async with engine.connect() as connection:
        (entry,) = await read_profile_entries(connection, "default", "ann")
    assert entry.content == "Acme"
    (changed,) = await published(engine, "profile-updated")
    assert (changed["op"], changed["after"]["content"]) == ("u", "Acme")
    assert await text_anywhere(engine, SECRET) == []

    await erase(engine, "b1")
    assert await count_of(engine, profiles) == 0
    assert await text_anywhere(engine, "Acme") == []


async def test_an_entry_that_another_message_was_merged_into_stays(engine: AsyncEngine) -> None:
    await remember(engine, "b1", SECRET, offset=1)
    await remember(engine, "b2", "Acme", offset=2)
    assert (await erase(engine, "b1")).profile_changes == 0
    assert await published(engine, "profile-updated") == []
    async with engine.connect() as connection:
        (entry,) = await read_profile_entries(connection, "default", "ann")
        (change_left,) = await read_history(connection, "default", "ann")
    assert (entry.content, change_left.op, change_left.before, change_left.after) == ("Acme", "c", None, "Acme")
    assert await text_anywhere(engine, SECRET) == []


async def test_a_shared_conversation_keeps_the_lines_of_the_others(engine: AsyncEngine) -> None:
    memory = update(change("company", None, "Acme", message_id="b2/0"), gists=[SECRET, "joined Acme"], summary=SECRET)
    first, second = memory.extraction.gists
    lines = (first, replace(second, message_ids=(MessageId("b2/0"),)))
    memory = replace(memory, extraction=replace(memory.extraction, gists=lines))
    await apply_once(engine, application(window(unit("b1", 1), unit("b2", 2)), memory=memory))

    await erase(engine, "b1")

    assert await text_anywhere(engine, SECRET) == []
    async with engine.connect() as connection:
        (event,) = await read_events(connection, "default", "ann", 5)
        (entry,) = await read_profile_entries(connection, "default", "ann")
    assert ([line.text for line in event.gists], event.summary, event.tags) == (["joined Acme"], None, [])
    assert [item["content"] for item in event.profile_delta] == ["Acme"]
    assert entry.content == "Acme"
    (changed,) = await published(engine, "event-updated")
    assert (changed["op"], [line["text"] for line in changed["after"]["gists"]]) == ("u", ["joined Acme"])
    assert await rows_of(engine, events, "embedding") == [(None,)]


async def test_a_blob_that_is_on_its_way_is_dropped_when_it_comes_and_makes_nobody_exist(engine: AsyncEngine) -> None:
    assert (await erase(engine, "b1")).revision == 0
    assert await count_of(engine, users) == 0
    async with engine.connect() as connection:
        book = await look_up_units(connection, "default", "ann", {"b1"})
    plan = plan_units([unit("b1")], book)
    assert (plan.remaining, [outcome for _, outcome in plan.skipped]) == ((), ["erased"])


async def test_a_deletion_that_is_repeated_changes_nothing(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    first = await erase(engine, "b1")
    before = [await rows_of(engine, table) for table in (users, units, profile_history, outbox)]
    assert await erase(engine, "b1") == Erasure(first.revision, 0, 0)
    assert [await rows_of(engine, table) for table in (users, units, profile_history, outbox)] == before


async def test_held_windows_lose_the_text_of_the_blob_and_nothing_else(engine: AsyncEngine) -> None:
    held = window(unit("b1", 1, SECRET), unit("b2", 2, "kept words"))
    async with engine.begin() as connection:
        await hold(connection, held, position(7, "extraction-windows"), "endpoint-away", NOW)
        await hold(connection, window(unit("b1", 1, SECRET)), position(8, "extraction-windows"), "behind-held", NOW)
    await erase(engine, "b1")
    assert await text_anywhere(engine, SECRET) == []
    assert await text_anywhere(engine, "kept words") == ["held_windows"]
    assert await count_of(engine, held_windows) == 2


async def test_pieces_of_a_blob_and_what_follows_of_them_are_erased(engine: AsyncEngine) -> None:
    whole = unit("b1")
    first = whole.model_copy(update={"message_index": 0})
    await apply_once(engine, application(window(first)))
    await erase(engine, "b1")
    for index in (0, 1):
        assert await outcome_of(engine, whole.model_copy(update={"message_index": index})) == "erased"
    assert await outcome_of(engine, whole) == "erased"


async def test_other_users_and_blobs_with_a_longer_id_are_left_alone(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme", user_id="bob")
    await remember(engine, "b1/0", "Hooli")
    result = await erase(engine, "b1")
    assert (result.profile_changes, result.event_changes) == (0, 0)
    assert sorted(row.content for row in await rows_of(engine, profiles)) == ["Acme", "Hooli"]


async def test_a_blob_that_is_being_applied_while_it_is_deleted_is_left_out(engine: AsyncEngine) -> None:
    said = application(window(unit("b1")), memory=update(change("company", None, SECRET)))
    async with engine.begin() as connection:
        await erase_blob(connection, "default", "ann", "b1", LATER, uuid4)
        applying = asyncio.create_task(apply_once(engine, said))
        # It has looked the blob up before, and waits for the user's row.
        await asyncio.sleep(0.1)
    with pytest.raises(UnitsMoved):
        await applying
    assert await text_anywhere(engine, SECRET) == []


async def test_a_window_that_lost_its_only_blob_comes_to_its_end(engine: AsyncEngine) -> None:
    await apply_once(engine, application(window()))
    assert await rows_of(engine, ledger, "outcome") == [("empty",)]


async def test_what_was_edited_or_removed_by_hand_keeps_no_word_of_the_blob_either(engine: AsyncEngine) -> None:
    edit = EventEdit(EventText("by hand", ("a line by hand",)))
    for blob_id, offset in (("b1", 1), ("b2", 2)):
        memory = update(change(f"slot_{blob_id}", None, SECRET, message_id=f"{blob_id}/0"), summary=SECRET)
        async with engine.connect() as connection:
            revision = (await read_profile(connection, "default", "ann")).revision
        await apply_once(engine, application(window(unit(blob_id, offset)), read_revision=revision, memory=memory))
    async with engine.connect() as connection:
        removed, changed = [event.event_id for event in await read_events(connection, "default", "ann", 5)]
        (first, _) = await read_profile_entries(connection, "default", "ann")
    async with engine.begin() as connection:
        edits = Edits(connection, NOW, uuid4, 1 << 20)
        await remove_event(edits, "default", "ann", removed)
        await change_event(edits, "default", "ann", changed, edit)
        await remove_entry(edits, "default", "ann", first.profile_id)
    for blob_id in ("b1", "b2"):
        await erase(engine, blob_id)
    assert await text_anywhere(engine, SECRET) == []
    assert await count_of(engine, edit_history) == 2
    async with engine.connect() as connection:
        (event,) = await read_events(connection, "default", "ann", 5)
    assert (event.summary, [line.text for line in event.gists]) == ("by hand", ["a line by hand"])


async def test_what_was_moved_or_tagged_by_hand_keeps_no_word_of_the_blob(engine: AsyncEngine) -> None:
    memory = update(change("company", None, SECRET, message_id="b1/0"), summary=SECRET)
    await apply_once(engine, application(window(unit("b1", 1)), memory=memory))
    async with engine.connect() as connection:
        (event,) = await read_events(connection, "default", "ann", 5)
        (entry,) = await read_profile_entries(connection, "default", "ann")
    async with engine.begin() as connection:
        edits = Edits(connection, NOW, uuid4, 1 << 20)
        await change_entry(edits, "default", "ann", entry.profile_id, entry.content, ("career", "employer"))
        await change_event(
            edits, "default", "ann", event.event_id, EventEdit(tags=[{"tag": "written", "value": "by hand"}])
        )
    await erase(engine, "b1")
    assert await text_anywhere(engine, SECRET) == []
    async with engine.connect() as connection:
        assert await read_profile_entries(connection, "default", "ann") == []
        (left,) = await read_events(connection, "default", "ann", 5)
    assert (left.summary, left.tags) == (None, [{"tag": "written", "value": "by hand"}])
