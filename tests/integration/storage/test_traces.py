"""From a message's trace to the headers of what it changed, on a real database."""

from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.envelope import open_value
from schemas.records import ChatBlob, parse_record
from schemas.windows import Unit, Window
from storage.applying import ParkedUnit
from storage.commands import apply_command
from storage.holding import due, hold
from tests.integration.storage.builders import (
    NOW,
    application,
    apply_once,
    change,
    command,
    outbox_rows,
    piece,
    position,
    remember,
    unit,
    update,
    window,
)


def parent(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"


def traced(blob_id: str, number: int, **more: Any) -> Unit:
    return unit(blob_id, number, traceparent=parent(number), **more)


async def test_a_change_has_the_trace_of_the_newest_message_behind_it(engine: AsyncEngine) -> None:
    memory = update(
        change("company", None, "Acme", message_id="b1/0"),
        change("role", None, "cook", message_id="b2/0"),
        change("city", None, "Oslo", message_id="b4/0"),
        summary="A job",
    )
    units = (traced("b1", 1, tracestate="a=1"), traced("b2", 2), traced("b3", 3), unit("b4", 4))
    await apply_once(engine, application(window(*units), memory=memory))
    found = {}
    for row in await outbox_rows(engine):
        slot = orjson.loads(row.payload or "")
        name = slot["after"]["sub_topic"] if row.aggregate_type == "profile-updated" else row.aggregate_type
        found[name] = (row.headers.get("traceparent"), row.headers.get("tracestate"))
    assert found == {
        "company": (parent(1), "a=1"),
        "role": (parent(2), None),
        "city": (None, None),
        "event-updated": (parent(2), None),
        "profiles": (parent(3), None),
    }


async def test_a_dead_letter_has_the_trace_of_its_unit_and_is_no_cloudevent(engine: AsyncEngine) -> None:
    whole = traced("b1", 1)
    parked = ParkedUnit(piece(whole, 0), "content-rejected", "refused", 1)
    await apply_once(engine, application(window(whole, traced("b2", 2)), applied=(), parked=[parked]))
    (row,) = await outbox_rows(engine)
    assert row.headers["traceparent"] == parent(1)
    headers = tuple((name, value.encode()) for name, value in row.headers.items())
    # Sent again, it is the blob that it was.
    opened = open_value((row.payload or "").encode(), headers)
    blob = parse_record(opened.document)
    assert isinstance(blob, ChatBlob)
    assert (blob.id, blob.content_hash(), opened.trace) == ("b1", whole.content_hash, whole.trace)


async def test_a_held_window_keeps_its_traces(engine: AsyncEngine) -> None:
    held = window(traced("b1", 1, tracestate="a=1"), unit("b2", 2))
    async with engine.begin() as connection:
        await hold(connection, held, position(7, "extraction-windows"), "endpoint-away", NOW)
    async with engine.begin() as connection:
        (claimed,) = await due(connection, "worker", NOW, 10, 60.0)
    assert isinstance(claimed.record, Window)
    assert claimed.record.units == held.units


async def test_the_end_of_a_user_has_the_trace_of_the_forget(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    forget = command("forget-user").model_copy(update={"traceparent": parent(9)})
    async with engine.begin() as connection:
        await apply_command(connection, forget, position(200, "extraction-windows"), NOW, uuid4)
    (tombstone,) = [row for row in await outbox_rows(engine) if row.payload is None]
    assert tombstone.headers["traceparent"] == parent(9)
