"""How much a shadow holds: users, windows and units, counted."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.shadow_tables import shadow_letters, shadow_users, shadow_windows


@dataclass(frozen=True, slots=True)
class ShadowCounts:
    """Windows and units, which are blobs or pieces of them, are those of users that are not promoted yet."""

    users: int = 0
    promoted_users: int = 0
    windows: int = 0
    applied: int = 0
    parked: int = 0
    dead_letters: int = 0


async def count_shadow(connection: AsyncConnection, generation: int) -> ShadowCounts:
    """By the tables of shadows only, each by its key."""
    of_users = select(func.count(), func.count(shadow_users.c.promoted_at)).where(
        shadow_users.c.generation == generation
    )
    of_windows = select(
        func.count(),
        func.coalesce(func.sum(shadow_windows.c.applied_count), 0),
        func.coalesce(func.sum(shadow_windows.c.parked_count), 0),
    ).where(shadow_windows.c.generation == generation)
    letters = select(func.count()).select_from(shadow_letters).where(shadow_letters.c.generation == generation)
    users, promoted = (await connection.execute(of_users)).one()
    windows, applied, parked = (await connection.execute(of_windows)).one()
    dead_letters = await connection.scalar(letters) or 0
    return ShadowCounts(users, promoted, windows, int(applied), int(parked), dead_letters)
