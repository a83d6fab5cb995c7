"""A user's memory as it is now, published once more: `op: "r"` for each thing, then the whole for `profiles`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.changes import ChangeSource
from storage.browsing import read_events
from storage.locking import LockedUser, count_on, lock_known_user
from storage.outbox import append_rows
from storage.outgoing import Outgoing, change_source
from storage.profile_writing import read_rows


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How much of a user was put into the outbox."""

    entries: int
    events: int


async def publish_user(
    connection: AsyncConnection,
    project_id: str,
    user_id: str,
    now: datetime,
    new_id: Callable[[], UUID],
    *,
    with_events: bool = False,
) -> Snapshot | None:
    """Write the user's state to the outbox, behind all changes so far; None where there is no such user.

    Under the user's row lock, so that no change comes between what is read and what is written. The revision stays as
    it is: nothing has changed.
    """
    user = await lock_known_user(connection, project_id, user_id)
    if user is None:
        return None
    outgoing = Outgoing(project_id, user_id, user.seq, now, new_id)
    found = await add_state(connection, user, user.revision, outgoing, with_events=with_events)
    await append_rows(connection, outgoing.rows)
    await count_on(connection, user, revision=user.revision, seq=outgoing.seq, now=now)
    return found


async def add_state(
    connection: AsyncConnection, user: LockedUser, revision: int, outgoing: Outgoing, *, with_events: bool
) -> Snapshot:
    """Add all that a locked user's memory holds now to what a transaction publishes."""
    rows = sorted(await read_rows(connection, user), key=lambda row: (row.topic, row.sub_topic))
    events = (await read_events(connection, user.project_id, user.user_id, None))[::-1] if with_events else []
    left = len(rows) + len(events)
    for row in rows:
        left -= 1
        source = _source(row.window_ids, row.message_ids, is_last=not left)
        outgoing.profile_changed("r", None, row.entry(), revision, source)
    for event in events:
        left -= 1
        source = _source(event.window_ids, event.message_ids, is_last=not left)
        outgoing.event_changed("r", None, event.published(), revision, source)
    outgoing.profile_state(revision, [row.entry() for row in rows])
    return Snapshot(len(rows), len(events))


def _source(window_ids: Sequence[UUID], message_ids: Sequence[str], *, is_last: bool) -> ChangeSource:
    return change_source((), window_ids, message_ids, None, "last" if is_last else "true")
