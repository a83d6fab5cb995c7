"""A profile as it was: played back from its history."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple, get_args
from uuid import UUID

from sqlalchemy import Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.recall import Clock, Entry, of_live_user
from storage.tables import profile_history


class Change(NamedTuple):
    """One change of one entry, as history has it; `at` is a time of the clock by which it is played back."""

    profile_id: UUID
    topic: str
    sub_topic: str
    op: str
    before: str | None
    after: str | None
    at: datetime


def _changes(clock: Clock) -> Select[Any]:
    at = profile_history.c[f"{clock}_at"]
    return (
        select(*(profile_history.c[name] for name in Change._fields[:-1]), at.label("at"))
        .where(of_live_user(profile_history), at <= bindparam("moment"))
        .order_by(profile_history.c.history_id)
    )


_CHANGES: Final = {clock: _changes(clock) for clock in get_args(Clock)}


async def read_entries_as_of(
    connection: AsyncConnection, project_id: str, user_id: str, moment: datetime, clock: Clock = "recorded"
) -> list[Entry]:
    """The profile that all changes recorded up to `moment` make, or all of what was said up to then, and nothing later.

    What was recorded first is played back first, by either clock: that is how each change met what was there.
    """
    parameters = {"project_id": project_id, "user_id": user_id, "moment": moment}
    return play_back(Change._make(row) for row in await connection.execute(_CHANGES[clock], parameters))


def play_back(changes: Iterable[Change]) -> list[Entry]:
    """The entries that are left by changes in their order."""
    entries: dict[UUID, Entry] = {}
    # An entry that is moved by hand leaves its slot and comes into another at one time, and stays the same entry.
    gone: dict[tuple[UUID, datetime], Entry] = {}
    for change in changes:
        identifier = change.profile_id
        known = entries.pop(identifier, None) or gone.pop((identifier, change.at), None)
        if change.after is None:
            if known is not None:
                gone[identifier, change.at] = known
        elif known is None:
            entries[identifier] = Entry(
                profile_id=identifier,
                topic=change.topic,
                sub_topic=change.sub_topic,
                content=change.after,
                update_hits=0,
                created_at=change.at,
                updated_at=change.at,
            )
        else:
            entries[identifier] = _changed(known, change, change.after)
    return list(entries.values())


def _changed(entry: Entry, change: Change, content: str) -> Entry:
    if (entry.topic, entry.sub_topic, entry.content) == (change.topic, change.sub_topic, content):
        # What was only said again is not an update of the entry.
        return entry
    return entry._replace(
        topic=change.topic,
        sub_topic=change.sub_topic,
        content=content,
        update_hits=entry.update_hits + (entry.content != content),
        updated_at=change.at,
    )
