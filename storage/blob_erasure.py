"""Deleting a blob: in one transaction under the user's lock, with what memory holds of it alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas import headers
from schemas.changes import ChangeSource
from schemas.windows import Window
from storage.blob_in_shadows import erase_in_shadows
from storage.edit_history import empty_edits
from storage.holding import held_record
from storage.locking import LockedUser, count_on, live_rows, lock_name, lock_user
from storage.outbox import append_rows
from storage.outgoing import Outgoing, change_source
from storage.redacting import redacted_memory, sorted_profile, write_event, write_slots
from storage.tables import blobs, held_windows, outbox, units, users
from storage.unit_writing import write_erased
from storage.units import WHOLE


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

    The blob counts as erased for good, wherever it is on its way or turns up again, and goes from shadows, too. What
    was never seen is erased as well: it may be unread. Repeated, it changes nothing. No published record repeats what
    was deleted.
    """
    user = await lock_user(connection, project_id, user_id, now)
    # Against a shadow that applies the blob meanwhile.
    await lock_name(connection, project_id, user_id)
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
    redacted = await redacted_memory(connection, user, user, blob_id, window_ids)
    revision = user.revision + 1
    decided = await write_slots(connection, user, redacted.slots, now, revision)
    for one in decided:
        outgoing.profile_changed(
            one.op,
            None if one.before is None else one.before.entry(),
            None if one.after is None else one.after.entry(),
            revision,
            _SOURCE,
        )
    await empty_edits(connection, user, [item.event.event_id for item in redacted.events])
    changed = [item for item in redacted.events if item.is_changed]
    for item in changed:
        await write_event(connection, item)
        outgoing.event_changed(
            "d" if item.is_gone else "u",
            # As it is left: the words that went are not said once more.
            item.event.published(),
            None if item.is_gone else item.event.published(),
            revision,
            _SOURCE,
        )
    if decided:
        outgoing.profile_state(revision, [row.entry() for row in await sorted_profile(connection, user)])
    await erase_in_shadows(connection, user, blob_id, now)
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
    of_blob = (*live_rows(user, units), units.c.blob_id == blob_id)
    erased = update(units).where(*of_blob).values(state="erased", reason=None)
    rows = (await connection.execute(erased.returning(units.c.window_id, units.c.message_index))).all()
    if not any(row.message_index == WHOLE for row in rows):
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
