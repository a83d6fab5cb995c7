"""A user's live memory, and what a shadow has in its place."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, exists, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.columns import LIVE_GENERATION
from storage.editing_profiles import ADDED
from storage.locking import LockedUser, live_rows
from storage.profile_writing import ProfileRow, read_rows
from storage.reading import EDITED, REMOVED
from storage.shadow_tables import shadow_users
from storage.tables import events, profile_history, units, users
from storage.user_listing import UserKey

# Reasons of history rows that are edits; a deleted blob leaves rows without an extractor, too.
BY_HAND: Final = (ADDED, EDITED, REMOVED)


@dataclass(frozen=True, slots=True)
class SlotEdit:
    """The last edit of a slot by hand: what it holds since then, None where it was taken out."""

    topic: str
    sub_topic: str
    after: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class BothSides:
    """Both memories of a user; `parked` are blobs that are parked in the shadow only, with the reason."""

    live: Sequence[ProfileRow]
    shadow: Sequence[ProfileRow]
    edits: Sequence[SlotEdit]
    live_events: int
    shadow_events: int
    parked: Sequence[tuple[str, str]]


async def unpromoted_pages(
    connection: AsyncConnection, generation: int, size: int, project_id: str | None = None, user_id: str | None = None
) -> AsyncIterator[list[UserKey]]:
    """The users whom the shadow knows and who are not promoted, a page at a time; ends the transaction before each."""
    last: UserKey = ("", "")
    key = tuple_(shadow_users.c.project_id, shadow_users.c.user_id)
    while True:
        await connection.rollback()
        query = select(shadow_users.c.project_id, shadow_users.c.user_id).where(
            shadow_users.c.generation == generation,
            shadow_users.c.promoted_at.is_(None),
            key > tuple_(*(bindparam(None, part) for part in last)),
        )
        if project_id is not None:
            query = query.where(shadow_users.c.project_id == project_id)
        if user_id is not None:
            query = query.where(shadow_users.c.user_id == user_id)
        query = query.order_by(shadow_users.c.project_id, shadow_users.c.user_id).limit(size)
        page = [(row.project_id, row.user_id) for row in (await connection.execute(query)).all()]
        if not page:
            return
        yield page
        last = page[-1]


async def count_unknown(connection: AsyncConnection, generation: int, project_id: str | None) -> int:
    """Users of live memory whom the shadow does not know."""
    in_shadow = exists().where(
        shadow_users.c.generation == generation,
        shadow_users.c.project_id == users.c.project_id,
        shadow_users.c.user_id == users.c.user_id,
    )
    query = select(func.count()).select_from(users).where(~in_shadow)
    if project_id is not None:
        query = query.where(users.c.project_id == project_id)
    return int(await connection.scalar(query) or 0)


async def read_both(connection: AsyncConnection, project_id: str, user_id: str, generation: int) -> BothSides:
    """In a transaction of REPEATABLE READ, of one moment."""
    of_user = (users.c.project_id == project_id, users.c.user_id == user_id)
    live_generation = await connection.scalar(select(users.c.live_generation).where(*of_user))
    live = LockedUser(project_id, user_id, 0, 0, LIVE_GENERATION if live_generation is None else live_generation)
    shadow = LockedUser(project_id, user_id, 0, 0, generation)
    return BothSides(
        live=await read_rows(connection, live),
        shadow=await read_rows(connection, shadow),
        edits=await _edits(connection, live),
        live_events=await _count_events(connection, live),
        shadow_events=await _count_events(connection, shadow),
        parked=await _parked_only(connection, live, shadow),
    )


async def _edits(connection: AsyncConnection, live: LockedUser) -> Sequence[SlotEdit]:
    names = ("topic", "sub_topic", "after", "occurred_at")
    query = (
        select(*(profile_history.c[name] for name in names))
        .where(
            *live_rows(live, profile_history), profile_history.c.extractor.is_(None), profile_history.c.why.in_(BY_HAND)
        )
        .order_by(profile_history.c.history_id)
    )
    rows = (await connection.execute(query)).all()
    return list({(row.topic, row.sub_topic): SlotEdit(*row) for row in rows}.values())


async def _count_events(connection: AsyncConnection, user: LockedUser) -> int:
    query = select(func.count()).select_from(events).where(*live_rows(user, events))
    return int(await connection.scalar(query) or 0)


async def _parked_only(connection: AsyncConnection, live: LockedUser, shadow: LockedUser) -> Sequence[tuple[str, str]]:
    there = units.alias("there")
    is_parked = exists().where(
        there.c.project_id == live.project_id,
        there.c.user_id == live.user_id,
        there.c.generation == live.live_generation,
        there.c.blob_id == units.c.blob_id,
        there.c.state == "parked",
    )
    query = (
        select(units.c.blob_id, func.min(units.c.reason).label("reason"))
        .where(*live_rows(shadow, units), units.c.state == "parked", ~is_parked)
        .group_by(units.c.blob_id)
        .order_by(units.c.blob_id)
    )
    return [(row.blob_id, row.reason) for row in (await connection.execute(query)).all()]
