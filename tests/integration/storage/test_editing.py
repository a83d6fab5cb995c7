"""Edits by hand on a real database: readable at once, in the history, on the change topics, and none lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import InvalidRecord
from schemas.memory import Correction
from storage.browsing import EventRow, read_events, read_history, read_profile_entries
from storage.commands import apply_command
from storage.editing import Edits, Taken
from storage.editing_events import EventEdit, EventText, change_event, remove_event
from storage.editing_profiles import add_entry, change_entry, remove_entry
from storage.editing_users import create_user, read_user, replace_fields
from storage.profile_writing import ProfileRow
from storage.reading import read_profile
from storage.tables import edit_history, events, gists, users
from tests.integration.storage.builders import (
    NOW,
    application,
    apply_once,
    change,
    command,
    count_of,
    outbox_rows,
    position,
    remember,
    rows_of,
    unit,
    update,
    window,
)

ANN = ("default", "ann")
COMPANY = ("work", "company")
LATER = NOW + timedelta(minutes=1)
MANY_BYTES = 1 << 20


def both(held: str, said: str) -> str:
    return f"{held}; {said}"


@asynccontextmanager
async def editing(engine: AsyncEngine, now: datetime = LATER, max_bytes: int = MANY_BYTES) -> AsyncIterator[Edits]:
    async with engine.begin() as connection:
        yield Edits(connection, now, uuid4, max_bytes)


async def add(engine: AsyncEngine, content: str, slot: tuple[str, str] = COMPANY) -> UUID:
    async with editing(engine) as edits:
        return await add_entry(edits, *ANN, slot, content, both)


async def profile_of(engine: AsyncEngine) -> list[ProfileRow]:
    async with engine.connect() as connection:
        return await read_profile_entries(connection, *ANN)


async def revision_of(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return (await read_profile(connection, *ANN)).revision


async def published(engine: AsyncEngine) -> list[tuple[str, dict[str, Any]]]:
    return [(row.aggregate_type, orjson.loads(row.payload or "null")) for row in await outbox_rows(engine)]


async def test_an_added_entry_is_readable_told_in_the_history_and_published(engine: AsyncEngine) -> None:
    profile_id = await add(engine, "Acme")

    ((entry),) = await profile_of(engine)
    assert (entry.profile_id, entry.topic, entry.sub_topic, entry.content) == (profile_id, "work", "company", "Acme")
    async with engine.connect() as connection:
        (told,) = await read_history(connection, *ANN)
    assert (told.op, told.before, told.after, told.why, told.extractor) == ("c", None, "Acme", "added", None)
    assert (told.revision, told.recorded_at) == (1, LATER)
    (changed_type, changed), (state_type, state) = await published(engine)
    assert (changed_type, changed["op"], changed["after"]["content"]) == ("profile-updated", "c", "Acme")
    assert (changed["source"]["extractor"], changed["source"]["topic"]) == (None, None)
    assert (state_type, [item["content"] for item in state["profile"]]) == ("profiles", ["Acme"])
    assert changed["revision"] == state["revision"] == await revision_of(engine) == 1


async def test_the_same_edit_once_more_changes_and_publishes_nothing(engine: AsyncEngine) -> None:
    profile_id = await add(engine, "Acme")
    before = await rows_of(engine, users)
    async with editing(engine, LATER + timedelta(hours=1)) as edits:
        assert await add_entry(edits, *ANN, COMPANY, "Acme", lambda held, said: held) == profile_id
        assert await change_entry(edits, *ANN, profile_id, "Acme", COMPANY)
    assert await rows_of(engine, users) == before
    assert len(await published(engine)) == 2


async def test_a_changed_and_a_removed_entry_are_published_with_what_they_were(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    (entry,) = await profile_of(engine)
    async with editing(engine) as edits:
        assert await change_entry(edits, *ANN, entry.profile_id, "Bolt", ("work", "employer"))
    async with editing(engine) as edits:
        assert await remove_entry(edits, *ANN, entry.profile_id)

    assert await profile_of(engine) == []
    by_hand = (await published(engine))[-4:]
    assert [(name, value.get("op")) for name, value in by_hand] == [
        ("profile-updated", "u"),
        ("profiles", None),
        ("profile-updated", "d"),
        ("profiles", None),
    ]
    moved, removed = by_hand[0][1], by_hand[2][1]
    assert (moved["before"]["sub_topic"], moved["after"]["sub_topic"]) == ("company", "employer")
    assert (moved["after"]["content"], moved["after"]["message_ids"]) == ("Bolt", [])
    assert (removed["before"]["content"], removed["after"]) == ("Bolt", None)
    assert by_hand[3][1]["profile"] == []
    assert removed["revision"] == await revision_of(engine) == 3


async def test_what_is_not_there_is_not_edited_and_makes_no_user(engine: AsyncEngine) -> None:
    async with editing(engine) as edits:
        assert not await change_entry(edits, *ANN, uuid4(), "Bolt", None)
        assert not await remove_entry(edits, *ANN, uuid4())
        assert not await change_event(edits, *ANN, uuid4(), EventEdit(tags=[]))
        assert not await remove_event(edits, *ANN, uuid4())
    assert await count_of(engine, users) == 0


async def test_an_entry_of_another_user_or_project_is_not_there(engine: AsyncEngine) -> None:
    profile_id = await add(engine, "Acme")
    async with editing(engine) as edits:
        for owner in (("default", "bob"), ("other", "ann")):
            await create_user(edits, *owner, None)
            assert not await change_entry(edits, *owner, profile_id, "Bolt", None)
            assert not await remove_entry(edits, *owner, profile_id)
    assert [entry.content for entry in await profile_of(engine)] == ["Acme"]


async def test_a_slot_that_another_entry_has_is_refused_and_nothing_is_written(engine: AsyncEngine) -> None:
    profile_id = await add(engine, "Acme")
    await add(engine, "cook", ("work", "role"))
    with pytest.raises(Taken):
        async with editing(engine) as edits:
            await change_entry(edits, *ANN, profile_id, "Bolt", ("work", "role"))
    assert await revision_of(engine) == 2


async def test_a_memory_that_no_record_could_hold_is_refused_but_may_shrink(engine: AsyncEngine) -> None:
    profile_id = await add(engine, "x" * 2000)
    with pytest.raises(InvalidRecord, match="too-large"):
        async with editing(engine, max_bytes=2000) as edits:
            await add_entry(edits, *ANN, ("work", "role"), "cook", both)
    assert [entry.sub_topic for entry in await profile_of(engine)] == ["company"]
    async with editing(engine, max_bytes=2000) as edits:
        assert await remove_entry(edits, *ANN, profile_id)


async def test_edits_of_one_slot_at_the_same_time_are_all_kept(engine: AsyncEngine) -> None:
    ids = await asyncio.gather(*(add(engine, f"note {number}") for number in range(10)))
    (entry,) = await profile_of(engine)
    assert set(ids) == {entry.profile_id}
    assert sorted(entry.content.split("; ")) == sorted(f"note {number}" for number in range(10))
    assert await revision_of(engine) == 10


async def test_extraction_is_told_which_slots_were_set_right_and_when(engine: AsyncEngine) -> None:
    await add(engine, "Acme")
    role_id = await add(engine, "cook", ("work", "role"))
    async with engine.connect() as connection:
        assert (await read_profile(connection, *ANN)).corrections == ()
    async with editing(engine) as edits:
        await remove_entry(edits, *ANN, role_id)
    async with engine.connect() as connection:
        profile = await read_profile(connection, *ANN)
    assert profile.corrections == (Correction("work", "role", LATER),)


async def with_event(engine: AsyncEngine) -> EventRow:
    moved = update(change("company", None, "Acme"), gists=("met at Acme", "had lunch"), summary="A meeting")
    await apply_once(engine, application(window(unit("b1")), memory=moved))
    return await event_of(engine)


async def event_of(engine: AsyncEngine) -> EventRow:
    async with engine.connect() as connection:
        (event,) = await read_events(connection, *ANN, 10)
    return event


async def test_an_edited_event_says_the_new_in_all_its_lines(engine: AsyncEngine) -> None:
    before = await with_event(engine)
    text = EventText("A meeting in Oslo", ("met at Bolt", "had lunch"))
    async with editing(engine) as edits:
        assert await change_event(edits, *ANN, before.event_id, EventEdit(text, [{"tag": "mood", "value": "sad"}]))

    after = await event_of(engine)
    assert (after.summary, [gist.text for gist in after.gists]) == ("A meeting in Oslo", ["met at Bolt", "had lunch"])
    assert after.gists[1] == before.gists[1]
    assert (after.tags, after.updated_at, after.revision) == ([{"tag": "mood", "value": "sad"}], LATER, 2)
    ((embedding,),) = await rows_of(engine, events, "embedding")
    assert embedding is None
    embedded = {row.text: row.embedding is not None for row in await rows_of(engine, gists)}
    assert embedded == {"met at Bolt": False, "had lunch": True}
    name, value = (await published(engine))[-1]
    assert (name, value["op"], value["revision"]) == ("event-updated", "u", 2)
    assert [item["text"] for item in value["before"]["gists"]] == ["met at Acme", "had lunch"]
    assert [item["text"] for item in value["after"]["gists"]] == ["met at Bolt", "had lunch"]
    ((kind, op, was, now),) = await rows_of(engine, edit_history, "kind", "op", "before", "after")
    assert (kind, op, was["summary"], now["summary"]) == ("event", "u", "A meeting", "A meeting in Oslo")


async def test_a_removed_event_is_gone_with_its_lines_and_published(engine: AsyncEngine) -> None:
    event = await with_event(engine)
    async with editing(engine) as edits:
        assert await remove_event(edits, *ANN, event.event_id)
    assert (await count_of(engine, events), await count_of(engine, gists)) == (0, 0)
    name, value = (await published(engine))[-1]
    assert (name, value["op"], value["before"]["id"], value["after"]) == (
        "event-updated",
        "d",
        str(event.event_id),
        None,
    )
    ((op, was, now),) = await rows_of(engine, edit_history, "op", "before", "after")
    assert (op, was["summary"], was["profile_delta"][0]["content"], now) == ("d", "A meeting", "Acme", None)


async def test_a_user_who_is_made_twice_is_one_user_and_with_other_data_none(engine: AsyncEngine) -> None:
    for _ in range(2):
        async with editing(engine) as edits:
            await create_user(edits, *ANN, {"name": "Ann"})
    assert await revision_of(engine) == 1
    with pytest.raises(Taken):
        async with editing(engine) as edits:
            await create_user(edits, *ANN, {"name": "Bob"})
    assert [(name, value["profile"]) for name, value in await published(engine)] == [("profiles", [])]
    assert await rows_of(engine, edit_history, "kind", "op", "before", "after") == [
        ("user", "c", None, {"name": "Ann"})
    ]


async def test_a_user_known_from_messages_takes_the_data_of_who_makes_them(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    async with editing(engine) as edits:
        await create_user(edits, *ANN, {"name": "Ann"})
    async with editing(engine) as edits:
        await replace_fields(edits, *ANN, {"city": "Oslo"})
    async with engine.connect() as connection:
        row = await read_user(connection, *ANN)
    assert row is not None
    assert (row.additional_fields, row.updated_at) == ({"city": "Oslo"}, LATER)
    assert [entry.content for entry in await profile_of(engine)] == ["Acme"]


async def test_a_forget_removes_all_that_was_edited_and_spares_what_is_made_after(engine: AsyncEngine) -> None:
    event = await with_event(engine)
    await add(engine, "cook", ("work", "role"))
    async with editing(engine) as edits:
        await change_event(edits, *ANN, event.event_id, EventEdit(tags=[]))
    forget = command("forget-user")
    async with engine.begin() as connection:
        await apply_command(connection, forget, forget.position, LATER, uuid4)
    assert (await profile_of(engine), await count_of(engine, edit_history), await count_of(engine, users)) == ([], 0, 0)

    await add(engine, "Bolt")
    # As the worker does when the command comes to it.
    async with engine.begin() as connection:
        await apply_command(connection, forget, position(9, "extraction-windows"), LATER, uuid4)
    assert [entry.content for entry in await profile_of(engine)] == ["Bolt"]


async def test_two_who_apply_the_same_forget_at_once_apply_it_once(engine: AsyncEngine) -> None:
    await add(engine, "Acme")
    forget = command("forget-user")

    async def apply_it() -> None:
        async with engine.begin() as connection:
            await apply_command(connection, forget, forget.position, LATER, uuid4)

    await asyncio.gather(*(apply_it() for _ in range(5)))
    assert [value for _, value in await published(engine)] == [None]
