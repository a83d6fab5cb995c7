"""Quotes, joined sub-topics and kept texts: written with a change, read back, and gone with the user."""

from dataclasses import replace
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.memory import MemoryUpdate, Quote
from schemas.windows import MessageId
from storage.browsing import read_event, read_events, read_history
from storage.commands import apply_command
from storage.kept_blobs import read_kept_blobs
from storage.tables import gists, profile_history
from tests.integration.storage.builders import (
    NOW,
    application,
    apply_once,
    change,
    command,
    count_of,
    piece,
    position,
    remember,
    unit,
    update,
    window,
)

QUOTE = Quote(MessageId("b1/0"), "moved to \x00Oslo")
STORED = Quote(MessageId("b1/0"), "moved to Oslo")


def quoted() -> MemoryUpdate:
    memory = update(change("city", None, "Oslo"), change("title", None, "nurse"), gists=["moved"], summary="s")
    city, title = memory.changes
    gist = replace(memory.extraction.gists[0], quote=QUOTE)
    return replace(
        memory,
        changes=(replace(city, quotes=(QUOTE,), joined=("town",)), title),
        extraction=replace(memory.extraction, gists=(gist,)),
    )


async def test_history_and_gists_keep_quotes_as_postgres_can_and_which_slots_were_joined(engine: AsyncEngine) -> None:
    await apply_once(engine, application(window(unit("b1")), memory=quoted()))
    async with engine.connect() as connection:
        by_slot = {row.sub_topic: row for row in await read_history(connection, "default", "ann", topic="work")}
        (event,) = await read_events(connection, "default", "ann", 5)
        assert await read_event(connection, "default", "ann", event.event_id) == event
        assert await read_event(connection, "default", "bob", event.event_id) is None
        assert await read_event(connection, "default", "ann", uuid4()) is None
        assert await read_history(connection, "default", "ann", topic="other") == []
    assert {name: (row.quotes, row.joined) for name, row in by_slot.items()} == {
        "city": ((STORED,), ("town",)),
        "title": ((), ()),
    }
    assert [gist.quotes for gist in event.gists] == [(STORED,)]
    assert event.extractor is not None
    assert event.extractor["name"] == "offline"


async def test_a_forget_leaves_no_quote(engine: AsyncEngine) -> None:
    await apply_once(engine, application(window(unit("b1")), memory=quoted()))
    async with engine.begin() as connection:
        await apply_command(connection, command("forget-user"), position(200, "extraction-windows"), NOW, uuid4)
    assert (await count_of(engine, profile_history), await count_of(engine, gists)) == (0, 0)


async def test_kept_texts_are_read_piece_by_piece_and_of_one_user_only(engine: AsyncEngine) -> None:
    whole = unit("b1")
    parts = [piece(unit("b2", 1), 1, part) for part in (1, 0)]
    await apply_once(engine, application(window(whole, *parts), memory=quoted(), keep_blobs=True))
    await remember(engine, "b3", "Acme", user_id="bob", offset=2)
    async with engine.connect() as connection:
        found = await read_kept_blobs(connection, "default", "ann", ["b1", "b2", "b3"])
        assert await read_kept_blobs(connection, "default", "bob", ["b1", "b3"]) == {}
    assert {blob_id: [(one.message_index, one.part) for one in pieces] for blob_id, pieces in found.items()} == {
        "b1": [(-1, -1)],
        "b2": [(1, 0), (1, 1)],
    }
    assert found["b1"][0].content == whole.content
