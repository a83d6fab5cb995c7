"""What the history of edits by hand tells of events, when a blob of theirs is deleted."""

from collections.abc import Collection
from typing import Final, get_args
from uuid import UUID

from sqlalchemy import ColumnElement, exists, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.blob_redaction import Overall
from storage.locking import LockedUser
from storage.tables import edit_history, events

_OVERALL: Final[tuple[Overall, ...]] = get_args(Overall)


async def read_written(
    connection: AsyncConnection, user: LockedUser, event_ids: Collection[UUID]
) -> dict[UUID, set[Overall]]:
    """What of these events was written by hand: what an edit has changed, or whatever an earlier deletion has left."""
    query = select(edit_history.c.event_id, edit_history.c.before, edit_history.c.after).where(
        *_of_events(user), edit_history.c.event_id.in_(event_ids)
    )
    found: dict[UUID, set[Overall]] = {}
    for row in (await connection.execute(query)).all():
        is_emptied = row.before is None or row.after is None
        written = {name for name in _OVERALL if is_emptied or row.before[name] != row.after[name]}
        found.setdefault(row.event_id, set()).update(written)
    return found


async def empty_edits(connection: AsyncConnection, user: LockedUser, event_ids: Collection[UUID]) -> None:
    """Leave of edits by hand that they were made, not what the events said.

    Of an event that was removed by hand nobody can say any more what its summary was of, so these are among them.
    """
    is_there = exists(select(1).where(events.c.event_id == edit_history.c.event_id))
    await connection.execute(
        update(edit_history)
        .where(*_of_events(user), edit_history.c.event_id.in_(event_ids) | ~is_there)
        .values(before=null(), after=null())
    )


def _of_events(user: LockedUser) -> tuple[ColumnElement[bool], ...]:
    """Of every generation: an event that was edited by hand keeps its id when a shadow is promoted."""
    return (
        edit_history.c.project_id == user.project_id,
        edit_history.c.user_id == user.user_id,
        edit_history.c.kind == "event",
    )
