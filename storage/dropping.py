"""Parked units that nobody wants to try again: they count as erased, wherever they turn up."""

from datetime import datetime

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.blob_in_shadows import erase_in_shadows
from storage.columns import LIVE_GENERATION
from storage.locking import LockedUser, live_rows, lock_known_user, lock_name
from storage.tables import units
from storage.unit_writing import write_erased
from storage.units import ID_CONFLICT


async def drop_parked(connection: AsyncConnection, project_id: str, user_id: str, blob_id: str, now: datetime) -> bool:
    """Leave out for good what is parked of a blob, or the blob where nothing of it is recorded; False if it is applied.

    What memory has of other parts of it stays. Shadows leave it out as well, unless memory has other parts.
    """
    user = await lock_known_user(connection, project_id, user_id)
    # Against a shadow that applies the blob meanwhile.
    await lock_name(connection, project_id, user_id)
    live = user or LockedUser(project_id, user_id, 0, 0, LIVE_GENERATION)
    of_blob = (*live_rows(live, units), units.c.blob_id == blob_id)
    dropped = await connection.execute(
        update(units)
        .where(*of_blob, units.c.state == "parked", units.c.reason.is_distinct_from(ID_CONFLICT))
        .values(state="erased", reason=None)
    )
    if not dropped.rowcount:
        if await connection.scalar(select(exists().where(*of_blob))):
            return False
        await write_erased(connection, live.owner, blob_id, now)
    if not await connection.scalar(select(exists().where(*of_blob, units.c.state == "applied"))):
        await erase_in_shadows(connection, live, blob_id, now)
    return True
