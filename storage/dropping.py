"""Parked units that nobody wants to try again: they count as erased, wherever they turn up."""

from datetime import datetime

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.columns import LIVE_GENERATION
from storage.locking import lock_known_user
from storage.tables import units
from storage.unit_writing import write_erased
from storage.units import ID_CONFLICT


async def drop_parked(connection: AsyncConnection, project_id: str, user_id: str, blob_id: str, now: datetime) -> bool:
    """Leave out for good what is parked of a blob, or the blob where nothing of it is recorded; False if it is applied.

    What memory has of other parts of it stays.
    """
    user = await lock_known_user(connection, project_id, user_id)
    generation = LIVE_GENERATION if user is None else user.live_generation
    owner = {"project_id": project_id, "user_id": user_id, "generation": generation}
    of_blob = (*(units.c[name] == value for name, value in owner.items()), units.c.blob_id == blob_id)
    dropped = await connection.execute(
        update(units)
        .where(*of_blob, units.c.state == "parked", units.c.reason.is_distinct_from(ID_CONFLICT))
        .values(state="erased", reason=None)
    )
    if dropped.rowcount:
        return True
    if await connection.scalar(select(exists().where(*of_blob))):
        return False
    await write_erased(connection, owner, blob_id, now)
    return True
