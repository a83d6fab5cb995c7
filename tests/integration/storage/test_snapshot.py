"""A snapshot says what is there, behind what was published before, and changes nothing."""

from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.snapshot import Snapshot, publish_user
from storage.tables import outbox, profiles, users
from tests.integration.storage.builders import (
    NOW,
    application,
    apply_once,
    change,
    remember,
    rows_of,
    unit,
    update,
    window,
)


async def published(engine: AsyncEngine, user_id: str = "ann", **options: Any) -> tuple[Snapshot | None, list[Any]]:
    """What publish_user returned, and the rows that it has added, in their order."""
    async with engine.begin() as connection:
        await connection.execute(delete(outbox))
        found = await publish_user(connection, "default", user_id, NOW, uuid4, **options)
    rows = await rows_of(engine, outbox, "number", "aggregatetype", "seq", "payload")
    return found, sorted(rows)


async def test_each_entry_is_read_once_and_the_whole_profile_follows(engine: AsyncEngine) -> None:
    memory = update(change("company", None, "Acme"), change("title", None, "baker"))
    await apply_once(engine, application(window(unit("b1")), memory=memory))
    seq_before = max(await rows_of(engine, outbox, "seq"))[0]
    found, rows = await published(engine)
    assert found == Snapshot(entries=2, events=0)
    assert [row.aggregatetype for row in rows] == ["profile-updated", "profile-updated", "profiles"]
    assert [row.seq for row in rows] == [seq_before + 1, seq_before + 2, seq_before + 3]
    first, second, state = (orjson.loads(row.payload) for row in rows)
    assert (first["op"], first["before"], first["after"]["content"]) == ("r", None, "Acme")
    assert [document["source"]["snapshot"] for document in (first, second)] == ["true", "last"]
    assert state["profile"] == [first["after"], second["after"]]
    assert {document["revision"] for document in (first, second, state)} == {1}


async def test_nothing_changes_in_memory(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    before = await rows_of(engine, profiles), await rows_of(engine, users, "revision", "updated_at")
    await published(engine, with_events=True)
    assert (await rows_of(engine, profiles), await rows_of(engine, users, "revision", "updated_at")) == before


async def test_a_change_after_it_comes_behind_it(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    _, rows = await published(engine)
    await remember(engine, "b2", "Bolt")
    later = sorted(await rows_of(engine, outbox, "number", "seq"))[len(rows) :]
    assert later
    assert min(row.seq for row in later) == rows[-1].seq + 1


async def test_events_come_the_oldest_first_and_only_when_asked_for(engine: AsyncEngine) -> None:
    await apply_once(engine, application(window(unit("b1")), memory=update(gists=["met Bo"], summary="first")))
    await apply_once(
        engine, application(window(unit("b2")), read_revision=1, memory=update(summary="second")), NOW.replace(hour=13)
    )
    found, rows = await published(engine)
    assert found == Snapshot(entries=0, events=0)
    assert [row.aggregatetype for row in rows] == ["profiles"]
    found, rows = await published(engine, with_events=True)
    assert found == Snapshot(entries=0, events=2)
    documents = [orjson.loads(row.payload) for row in rows if row.aggregatetype == "event-updated"]
    assert [document["after"]["summary"] for document in documents] == ["first", "second"]
    assert [document["source"]["snapshot"] for document in documents] == ["true", "last"]
    assert documents[0]["after"]["gists"][0]["text"] == "met Bo"


async def test_of_a_user_nobody_knows_nothing_is_published(engine: AsyncEngine) -> None:
    assert await published(engine, "nobody") == (None, [])
    assert await rows_of(engine, users) == []
