"""Deleting a blob: in one transaction under the user's lock, with what memory holds of it alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Text, bindparam, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas import headers
from schemas.changes import ChangeSource
from schemas.memory import SlotChange
from schemas.windows import MessageId, Window
from storage.blob_redaction import RedactedEvent, RedactedSlot, blob_of, redact_event, redact_slot
from storage.browsing import HistoryRow, read_event, read_profile_history
from storage.edit_history import empty_edits, read_written
from storage.holding import held_record
from storage.locking import LockedUser, count_on, live_rows, lock_user
from storage.outbox import append_rows
from storage.outgoing import Outgoing, change_source
from storage.profile_writing import DecidedChange, ProfileRow, read_rows, write_changes
from storage.tables import (
    blobs,
    events,
    gists,
    held_windows,
    outbox,
    profile_history,
    units,
    users,
)
from storage.text import quotes_to_json
from storage.unit_writing import write_erased
from storage.units import WHOLE
from storage.window_results import is_of_windows

# Why, in the history of a profile.
BLOB_DELETED: Final = "blob-deleted"


@dataclass(frozen=True, slots=True)
class Erasure:
    """What a deletion did to memory, and the user's revision afterwards."""

    revision: int
    profile_changes: int
    event_changes: int


async def erase_blob(
    connection: AsyncConnection, project_id: str, user_id: str, blob_id: str, now: datetime, new_id: Callable[[], UUID]
) -> Erasure:
    """Delete a blob and what memory holds of it alone (see `blob_redaction`), with history and change events.

    The blob counts as erased for good, wherever it is on its way or turns up again. What was never seen is erased as
    well: it may be unread. Repeated, it changes nothing. No published record repeats what was deleted.
    """
    user = await lock_user(connection, project_id, user_id, now)
    window_ids = await _erase_units(connection, user, blob_id, now)
    of_blob = (blobs.c.project_id == project_id, blobs.c.user_id == user_id, blobs.c.blob_id == blob_id)
    await connection.execute(delete(blobs).where(*of_blob))
    await _erase_held(connection, user, blob_id)
    await connection.execute(
        delete(outbox).where(
            outbox.c.project_id == project_id,
            outbox.c.user_id == user_id,
            outbox.c.aggregatetype == "dead-letters",
            outbox.c.headers[headers.BLOB_ID].astext == blob_id,
        )
    )
    outgoing = Outgoing(project_id, user_id, user.seq, now, new_id)
    slots, redacted_events = await _redacted(connection, user, blob_id, window_ids)
    revision = user.revision + 1
    decided = await _write_slots(connection, user, slots, outgoing, revision)
    await empty_edits(connection, user, [item.event.event_id for item in redacted_events])
    changed = [item for item in redacted_events if item.is_changed]
    for item in changed:
        await _write_event(connection, item)
        outgoing.event_changed(
            "d" if item.is_gone else "u",
            # As it is left: the words that went are not said once more.
            item.event.published(),
            None if item.is_gone else item.event.published(),
            revision,
            _SOURCE,
        )
    if decided:
        outgoing.profile_state(revision, [row.entry() for row in await _profile(connection, user)])
    await append_rows(connection, outgoing.rows)
    if not outgoing.rows:
        revision = user.revision
    await count_on(connection, user, revision=revision, seq=outgoing.seq, now=now)
    if user.is_new:
        # Nobody exists because something of theirs was deleted.
        where = (users.c.project_id == project_id, users.c.user_id == user_id)
        await connection.execute(delete(users).where(*where))
    return Erasure(revision, len(decided), len(changed))


_SOURCE: Final[ChangeSource] = change_source((), (), (), None)


async def _erase_units(connection: AsyncConnection, user: LockedUser, blob_id: str, now: datetime) -> list[UUID]:
    """Erase all that is recorded of the blob, and the whole of it, for pieces may still come; returns its windows."""
    where = (units.c.project_id == user.project_id, units.c.user_id == user.user_id, units.c.blob_id == blob_id)
    erased = update(units).where(*where).values(state="erased", reason=None)
    rows = (
        await connection.execute(
            erased.returning(units.c.window_id, units.c.message_index, units.c.part, units.c.generation)
        )
    ).all()
    if not any(row.message_index == WHOLE and row.generation == user.live_generation for row in rows):
        await write_erased(connection, user.owner, blob_id, now)
    return list({row.window_id for row in rows if row.window_id is not None})


async def _erase_held(connection: AsyncConnection, user: LockedUser, blob_id: str) -> None:
    """Take the blob out of windows that wait; whoever tries one just now leaves it out, for it is erased."""
    query = select(held_windows).where(
        held_windows.c.project_id == user.project_id, held_windows.c.user_id == user.user_id
    )
    for row in (await connection.execute(query)).all():
        record = held_record(row).record
        if not isinstance(record, Window):
            continue
        left = [unit for unit in record.units if unit.blob_id != blob_id]
        if len(left) == len(record.units):
            continue
        window = record.model_copy(update={"units": left, "token_count": sum(unit.token_count for unit in left)})
        await connection.execute(
            update(held_windows)
            .where(held_windows.c.ledger_id == row.ledger_id)
            .values(payload=window.model_dump_json())
        )


async def _redacted(
    connection: AsyncConnection, user: LockedUser, blob_id: str, window_ids: Sequence[UUID]
) -> tuple[dict[UUID, RedactedSlot], list[RedactedEvent]]:
    """Every profile entry and event that the blob has a part in, without all blobs that are erased by now."""
    touched = select(profile_history.c.profile_id).where(
        *live_rows(user, profile_history), _cites(profile_history.c.message_ids, blob_id)
    )
    profile_ids = set((await connection.scalars(touched)).all())
    histories = await read_profile_history(connection, user.project_id, user.user_id, profile_ids)
    in_events = select(events.c.event_id).where(
        *live_rows(user, events),
        _cites(events.c.message_ids, blob_id) | is_of_windows(events.c.window_ids, window_ids),
    )
    found = []
    for event_id in (await connection.scalars(in_events)).all():
        event = await read_event(connection, user.project_id, user.user_id, event_id)
        if event is not None:
            found.append(event)
    cited = {blob_of(identifier) for rows in histories.values() for row in rows for identifier in row.message_ids}
    cited |= {blob_of(identifier) for event in found for identifier in event.message_ids}
    erased = await _erased_of(connection, user, cited | {blob_id})
    slots = {profile_id: redact_slot(rows, erased) for profile_id, rows in histories.items()}
    by_hand = await read_written(connection, user, [event.event_id for event in found])
    return slots, [redact_event(event, erased, by_hand.get(event.event_id, ())) for event in found]


async def _erased_of(connection: AsyncConnection, user: LockedUser, blob_ids: Iterable[str]) -> set[str]:
    """Those of the blobs that are erased as a whole."""
    query = select(units.c.blob_id).where(
        *live_rows(user, units),
        units.c.state == "erased",
        units.c.message_index == WHOLE,
        units.c.blob_id == func.any(bindparam("blob_ids", sorted(blob_ids), ARRAY(Text))),
    )
    return set((await connection.scalars(query)).all())


async def _write_slots(
    connection: AsyncConnection,
    user: LockedUser,
    slots: dict[UUID, RedactedSlot],
    outgoing: Outgoing,
    revision: int,
) -> list[DecidedChange]:
    """Clean the history, bring the entries to their new values, and add their change events."""
    removed = [number for slot in slots.values() for number in slot.removed]
    if removed:
        await connection.execute(delete(profile_history).where(profile_history.c.history_id.in_(removed)))
    for row in (row for slot in slots.values() for row in slot.rewritten):
        await connection.execute(
            update(profile_history)
            .where(profile_history.c.history_id == row.history_id)
            .values(before=row.before, after=row.after, op=row.op, quotes=quotes_to_json(row.quotes))
        )
    rows = {row.profile_id: row for row in await _profile(connection, user)} if slots else {}
    decided = [
        _decide(rows[profile_id], slot, outgoing.now)
        for profile_id, slot in slots.items()
        if slot.is_changed and profile_id in rows
    ]
    await write_changes(connection, user, decided, revision=revision, extractor=None, window_ids=(), now=outgoing.now)
    for item in decided:
        before, after = item.before, item.after
        outgoing.profile_changed(
            item.op,
            None if before is None else before.entry(),
            None if after is None else after.entry(),
            revision,
            _SOURCE,
        )
    return decided


def _decide(row: ProfileRow, slot: RedactedSlot, now: datetime) -> DecidedChange:
    """The change of an entry whose value rested on the blob alone; its `before` says nothing of that value."""
    before = replace(row, content="")
    after: ProfileRow | None = None
    last: HistoryRow | None = slot.last
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


async def _write_event(connection: AsyncConnection, item: RedactedEvent) -> None:
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


async def _profile(connection: AsyncConnection, user: LockedUser) -> list[ProfileRow]:
    return sorted(await read_rows(connection, user), key=lambda row: (row.topic, row.sub_topic))


def _cites(message_ids: Any, blob_id: str) -> ColumnElement[bool]:
    """Whether messages of the blob may be among these; an id may hold slashes, so a look at each says for sure."""
    one = func.unnest(message_ids).table_valued("message_id").render_derived()
    return exists(select(1).select_from(one).where(func.starts_with(one.c.message_id, f"{blob_id}/")))
