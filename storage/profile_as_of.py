"""A profile as it was: played back from its history."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple, get_args
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, Integer, Select, Table, and_, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.columns import LIVE_GENERATION
from storage.recall import Clock, Entry, of_live_user
from storage.tables import edit_history, profile_history, users


class Change(NamedTuple):
    """One change of one entry, as history has it; `at` is a time of the clock by which it is played back."""

    profile_id: UUID
    topic: str
    sub_topic: str
    op: str
    before: str | None
    after: str | None
    at: datetime


def _of_user(table: Table) -> tuple[ColumnElement[bool], ...]:
    return table.c.project_id == bindparam("project_id"), table.c.user_id == bindparam("user_id")


def _generation_then() -> ColumnElement[int]:
    """The generation that was read at the parameter `moment`: a promotion names the one before it and its own."""
    at = edit_history.c.recorded_at
    moment: BindParameter[datetime] = bindparam("moment")

    def named(side: str, is_then: ColumnElement[bool], order: ColumnElement[Any]) -> ColumnElement[int]:
        return (
            select(edit_history.c[side]["generation"].astext.cast(Integer))
            .where(*_of_user(edit_history), edit_history.c.kind == "promotion", is_then)
            .order_by(order)
            .limit(1)
            .scalar_subquery()
        )

    return func.coalesce(
        named("after", at <= moment, edit_history.c.edit_id.desc()),
        named("before", at > moment, edit_history.c.edit_id.asc()),
        select(users.c.live_generation).where(*_of_user(users)).scalar_subquery(),
        LIVE_GENERATION,
    )


def _changes(clock: Clock) -> Select[Any]:
    at = profile_history.c[f"{clock}_at"]
    # What was said is what memory has made of it since; what memory held, it may have held in another generation.
    is_read = (
        of_live_user(profile_history)
        if clock == "occurred"
        else and_(*_of_user(profile_history), profile_history.c.generation == _generation_then())
    )
    return (
        select(*(profile_history.c[name] for name in Change._fields[:-1]), at.label("at"))
        .where(is_read, at <= bindparam("moment"))
        .order_by(profile_history.c.history_id)
    )


_CHANGES: Final = {clock: _changes(clock) for clock in get_args(Clock)}


async def read_entries_as_of(
    connection: AsyncConnection, project_id: str, user_id: str, moment: datetime, clock: Clock = "recorded"
) -> list[Entry]:
    """The profile that all changes recorded up to `moment` make, or all of what was said up to then, and nothing later.

    By `recorded` it is played back from the memory that was read then, whatever was promoted since.

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
