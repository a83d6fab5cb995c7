"""What organize, compact and restatements do to the rows of a user, to history and to what is published."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.changes import PROFILE_STATE_TYPE, PROFILE_UPDATED_TYPE, ProfileChanged, ProfileState
from schemas.memory import Profile, SlotChange
from schemas.windows import MessageId
from storage import browsing
from storage.outbox import OutboxRow
from storage.reading import read_profile
from tests.integration.storage.builders import NOW, application, apply_once, change, outbox_rows, unit, update, window

LATER = NOW + timedelta(days=1)


async def remember(engine: AsyncEngine, number: int, *changes: SlotChange) -> UUID:
    """Apply a window of its own with these changes; its id."""
    one = window(unit(f"b{number}", number))
    profile = await read(engine)
    await apply_once(engine, application(one, read_revision=profile.revision, memory=update(*changes)))
    return one.window_id


async def read(engine: AsyncEngine) -> Profile:
    async with engine.connect() as connection:
        return await read_profile(connection, "default", "ann")


async def rows_after(engine: AsyncEngine, seq: int) -> list[OutboxRow]:
    return [row for row in await outbox_rows(engine) if row.seq > seq]


def changes_in(rows: Sequence[OutboxRow]) -> list[ProfileChanged]:
    return [ProfileChanged.model_validate_json(row.payload or "") for row in rows if row.type == PROFILE_UPDATED_TYPE]


def state_in(rows: Sequence[OutboxRow]) -> ProfileState:
    (row,) = (row for row in rows if row.type == PROFILE_STATE_TYPE)
    return ProfileState.model_validate_json(row.payload or "")


async def test_joined_slots_become_one_row_with_their_messages_and_windows(engine: AsyncEngine) -> None:
    first = await remember(engine, 1, change("rust", None, "writes Rust", message_id="b1/0"))
    second = await remember(engine, 2, change("python", None, "writes Python", message_id="b2/0"))
    before = await rows_after(engine, 0)
    joined = SlotChange(
        op="c",
        topic="work",
        sub_topic="languages",
        before=None,
        after="writes Rust, Python and C",
        why="organize",
        message_ids=(MessageId("b1/0"), MessageId("b2/0"), MessageId("b3/0")),
        occurred_at=LATER,
        joined=("rust", "python"),
    )
    gone = [
        change(name, f"writes {name.title()}", None, message_id=f"b{number}/0")
        for number, name in ((1, "rust"), (2, "python"))
    ]

    third = await remember(engine, 3, joined, *gone)

    (slot,) = (await read(engine)).slots
    assert (slot.sub_topic, slot.content, slot.occurred_at) == ("languages", "writes Rust, Python and C", LATER)
    assert slot.message_ids == ("b1/0", "b2/0", "b3/0")
    async with engine.connect() as connection:
        (row,) = await browsing.read_profile_entries(connection, "default", "ann")
        history = await browsing.read_history(connection, "default", "ann")
    assert row.window_ids == (first, second, third)
    assert [(item.op, item.sub_topic, item.before, item.after) for item in history[:3]] == [
        ("d", "python", "writes Python", None),
        ("d", "rust", "writes Rust", None),
        ("c", "languages", None, "writes Rust, Python and C"),
    ]
    rows = await rows_after(engine, before[-1].seq)
    # Whoever follows the changes never misses what was joined.
    assert [item.op for item in changes_in(rows)] == ["c", "d", "d"]
    assert changes_in(rows)[0].source.message_ids == ["b1/0", "b2/0", "b3/0"]
    assert [entry.sub_topic for entry in state_in(rows).profile] == ["languages"]


async def test_a_slot_that_others_are_joined_into_keeps_its_row(engine: AsyncEngine) -> None:
    first = await remember(engine, 1, change("rust", None, "writes Rust"), change("languages", None, "writes Python"))
    kept = (await read(engine)).slot("work", "languages")
    into = SlotChange(
        "u", "work", "languages", "writes Python", "writes Python, Rust", "organize", (), NOW, joined=("rust",)
    )

    second = await remember(engine, 2, into, change("rust", "writes Rust", None))

    async with engine.connect() as connection:
        (row,) = await browsing.read_profile_entries(connection, "default", "ann")
    assert kept is not None
    assert (row.profile_id, row.content, row.update_hits) == (kept.profile_id, "writes Python, Rust", 1)
    assert row.window_ids == (first, second)


async def test_what_is_said_again_moves_the_time_with_a_history_row_and_tells_only_the_state(
    engine: AsyncEngine,
) -> None:
    first = await remember(engine, 1, change("company", None, "Acme"))
    before = await rows_after(engine, 0)
    again = SlotChange("u", "work", "company", "Acme", "Acme", "restated", (MessageId("b2/0"),), LATER)

    second = await remember(engine, 2, again)

    async with engine.connect() as connection:
        (row,) = await browsing.read_profile_entries(connection, "default", "ann")
        (newest, _) = await browsing.read_history(connection, "default", "ann")
    assert (row.content, row.occurred_at, row.update_hits) == ("Acme", LATER, 0)
    assert (row.message_ids, row.window_ids) == (("b1/0", "b2/0"), (first, second))
    assert row.recorded_at == row.created_at == row.updated_at
    assert (newest.op, newest.before, newest.after, newest.why) == ("u", "Acme", "Acme", "restated")
    rows = await rows_after(engine, before[-1].seq)
    assert changes_in(rows) == []
    (entry,) = state_in(rows).profile
    assert (entry.content, entry.occurred_at[:10]) == ("Acme", LATER.date().isoformat())


async def test_history_keeps_what_a_shortened_memo_was(engine: AsyncEngine) -> None:
    long = "likes long walks in the hills; likes short walks at the beach"
    await remember(engine, 1, change("hobbies", None, long, topic="interest"))
    shorter = SlotChange("u", "interest", "hobbies", long, "likes walks", "compact", (MessageId("b2/0"),), LATER)

    await remember(engine, 2, shorter)

    async with engine.connect() as connection:
        (newest, _) = await browsing.read_history(connection, "default", "ann")
    assert (newest.before, newest.after, newest.why) == (long, "likes walks", "compact")
