"""Takes a deleted blob out of what nobody reads: shadows, which may be promoted, and the history before a promotion."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.locking import LockedUser
from storage.redacting import cites, redacted_memory, write_event, write_slots
from storage.shadow_tables import shadow_letters, shadow_users
from storage.tables import events, profile_history, units
from storage.window_results import is_of_windows


async def erase_in_shadows(connection: AsyncConnection, live: LockedUser, blob_id: str, now: datetime) -> None:
    """Take the blob out of all generations but the live one, in which it counts as erased already.

    Under the lock on the user's name, so that no shadow applies it meanwhile; a shadow that has read the memory
    finds another revision, and merges again. Nothing is published.
    """
    of_user = {"project_id": live.project_id, "user_id": live.user_id}
    window_ids = await _erase_units(connection, live, blob_id)
    letters = [shadow_letters.c[name] == value for name, value in of_user.items()]
    await connection.execute(delete(shadow_letters).where(*letters, shadow_letters.c.blob_id == blob_id))
    for generation in await _touched(connection, live, blob_id, window_ids):
        user = replace(live, live_generation=generation)
        found = await redacted_memory(connection, user, live, blob_id, window_ids)
        owner = [shadow_users.c[name] == value for name, value in user.owner.items()]
        counted = update(shadow_users).where(*owner).values(revision=shadow_users.c.revision + 1)
        revision = await connection.scalar(counted.returning(shadow_users.c.revision))
        # What was promoted over has a history still, and no entries that could change.
        await write_slots(connection, user, found.slots, now, live.revision if revision is None else revision)
        for item in found.events:
            if item.is_changed:
                await write_event(connection, item)


async def _erase_units(connection: AsyncConnection, live: LockedUser, blob_id: str) -> list[UUID]:
    of_blob = (
        units.c.project_id == live.project_id,
        units.c.user_id == live.user_id,
        units.c.blob_id == blob_id,
        units.c.generation != live.live_generation,
    )
    erased = update(units).where(*of_blob).values(state="erased", reason=None).returning(units.c.window_id)
    return list({window_id for window_id in (await connection.scalars(erased)).all() if window_id is not None})


async def _touched(
    connection: AsyncConnection, live: LockedUser, blob_id: str, window_ids: Sequence[UUID]
) -> Sequence[int]:
    """The other generations that hold something of the blob."""
    in_history = cites(profile_history.c.message_ids, blob_id)
    in_events = cites(events.c.message_ids, blob_id) | is_of_windows(events.c.window_ids, window_ids)
    found = union(
        *(
            select(table.c.generation).where(
                table.c.project_id == live.project_id,
                table.c.user_id == live.user_id,
                table.c.generation != live.live_generation,
                condition,
            )
            for table, condition in ((profile_history, in_history), (events, in_events))
        )
    )
    return sorted((await connection.scalars(found)).all())
