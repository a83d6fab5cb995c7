"""Takes deleted blobs out of one generation of a user's memory: what `blob_redaction` decides, read and written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Text, bindparam, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.memory import SlotChange
from schemas.windows import MessageId
from storage.blob_redaction import RedactedEvent, RedactedSlot, blob_of, redact_event, redact_slot
from storage.browsing import read_event, read_profile_history
from storage.edit_history import read_written
from storage.locking import LockedUser, live_rows
from storage.profile_writing import DecidedChange, ProfileRow, read_rows, write_changes
from storage.tables import events, gists, profile_history, units
from storage.text import quotes_to_json
from storage.units import WHOLE
from storage.window_results import is_of_windows

# Why, in the history of a profile.
BLOB_DELETED: Final = "blob-deleted"


@dataclass(frozen=True, slots=True)
class Redacted:
    """What is left of whatever a blob has a part in."""

    slots: Mapping[UUID, RedactedSlot]
    events: Sequence[RedactedEvent]


async def redacted_memory(
    connection: AsyncConnection, user: LockedUser, live: LockedUser, blob_id: str, window_ids: Sequence[UUID]
) -> Redacted:
    """Every profile entry and event that the blob has a part in, without all blobs that are erased by now.

    `user` has the generation that is read, `live` that in which blobs are recorded as erased.
    """
    generation = user.live_generation
    touched = select(profile_history.c.profile_id).where(
        *live_rows(user, profile_history), cites(profile_history.c.message_ids, blob_id)
    )
    profile_ids = set((await connection.scalars(touched)).all())
    histories = await read_profile_history(
        connection, user.project_id, user.user_id, profile_ids, generation=generation
    )
    in_events = select(events.c.event_id).where(
        *live_rows(user, events),
        cites(events.c.message_ids, blob_id) | is_of_windows(events.c.window_ids, window_ids),
    )
    found = []
    for event_id in (await connection.scalars(in_events)).all():
        event = await read_event(connection, user.project_id, user.user_id, event_id, generation=generation)
        if event is not None:
            found.append(event)
    cited = {blob_of(identifier) for rows in histories.values() for row in rows for identifier in row.message_ids}
    cited |= {blob_of(identifier) for event in found for identifier in event.message_ids}
    erased = await _erased_of(connection, live, cited | {blob_id})
    by_hand = await read_written(connection, user, [event.event_id for event in found])
    return Redacted(
        {profile_id: redact_slot(rows, erased) for profile_id, rows in histories.items()},
        [redact_event(event, erased, by_hand.get(event.event_id, ())) for event in found],
    )


async def _erased_of(connection: AsyncConnection, user: LockedUser, blob_ids: Iterable[str]) -> set[str]:
    """Those of the blobs that are erased as a whole."""
    query = select(units.c.blob_id).where(
        *live_rows(user, units),
        units.c.state == "erased",
        units.c.message_index == WHOLE,
        units.c.blob_id == func.any(bindparam("blob_ids", sorted(blob_ids), ARRAY(Text))),
    )
    return set((await connection.scalars(query)).all())


async def write_slots(
    connection: AsyncConnection,
    user: LockedUser,
    slots: Mapping[UUID, RedactedSlot],
    now: datetime,
    revision: int,
) -> list[DecidedChange]:
    """Clean the history, bring the entries to their new values, and return what has changed."""
    removed = [number for slot in slots.values() for number in slot.removed]
    if removed:
        await connection.execute(delete(profile_history).where(profile_history.c.history_id.in_(removed)))
    for row in (row for slot in slots.values() for row in slot.rewritten):
        await connection.execute(
            update(profile_history)
            .where(profile_history.c.history_id == row.history_id)
            .values(before=row.before, after=row.after, op=row.op, quotes=quotes_to_json(row.quotes))
        )
    rows = {row.profile_id: row for row in await sorted_profile(connection, user)} if slots else {}
    decided = [
        _decide(rows[profile_id], slot, now)
        for profile_id, slot in slots.items()
        if slot.is_changed and profile_id in rows
    ]
    await write_changes(connection, user, decided, revision=revision, extractor=None, window_ids=(), now=now)
    return decided


def _decide(row: ProfileRow, slot: RedactedSlot, now: datetime) -> DecidedChange:
    """The change of an entry whose value rested on the blob alone; its `before` says nothing of that value."""
    before, last = replace(row, content=""), slot.last
    after: ProfileRow | None = None
    if slot.value is not None and last is not None:
        after = replace(row, content=slot.value, occurred_at=last.occurred_at, recorded_at=now, updated_at=now)
    change = SlotChange(
        op="d" if after is None else "u",
        topic=row.topic,
        sub_topic=row.sub_topic,
        before=before.content,
        after=slot.value,
        why=BLOB_DELETED,
        # Of what holds now, so that it goes with that.
        message_ids=tuple(MessageId(name) for name in slot.message_ids),
        occurred_at=row.occurred_at if last is None else last.occurred_at,
    )
    return DecidedChange(change.op, before, after, change)


async def write_event(connection: AsyncConnection, item: RedactedEvent) -> None:
    """Bring an event to what is left of it."""
    event = item.event
    if item.is_gone:
        await connection.execute(delete(events).where(events.c.event_id == event.event_id))
        return
    if item.removed:
        await connection.execute(delete(gists).where(gists.c.gist_id.in_(item.removed)))
    for gist in event.gists:
        await connection.execute(
            update(gists).where(gists.c.gist_id == gist.gist_id).values(quotes=quotes_to_json(gist.quotes))
        )
    await connection.execute(
        update(events)
        .where(events.c.event_id == event.event_id)
        .values(
            summary=event.summary,
            tags=list(event.tags),
            profile_delta=list(event.profile_delta),
            embedding=None if event.summary is None else events.c.embedding,
        )
    )


async def sorted_profile(connection: AsyncConnection, user: LockedUser) -> list[ProfileRow]:
    """The profile, by topic and sub-topic."""
    return sorted(await read_rows(connection, user), key=lambda row: (row.topic, row.sub_topic))


def cites(message_ids: Any, blob_id: str) -> ColumnElement[bool]:
    """Whether messages of the blob may be among these; an id may hold slashes, so a look at each says for sure."""
    one = func.unnest(message_ids).table_valued("message_id").render_derived()
    return exists(select(1).select_from(one).where(func.starts_with(one.c.message_id, f"{blob_id}/")))
