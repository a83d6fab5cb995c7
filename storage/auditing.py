"""What is recorded of blobs and their users, looked up in batches for `memostream audit`, which decides."""

from collections.abc import Collection, Mapping
from typing import Any, cast

from sqlalchemy import ARRAY, BindParameter, Text, bindparam, column, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.columns import LIVE_GENERATION
from storage.reading import offsets_from_json, recorded_unit, user_hash
from storage.tables import forgotten_users, units, users
from storage.units import ForgetCutOff, RecordedUnit

BlobKey = tuple[str, str, str]
UserKey = tuple[str, str]


async def units_of_blobs(
    connection: AsyncConnection, blobs: Collection[BlobKey]
) -> Mapping[BlobKey, tuple[RecordedUnit, ...]]:
    """The recorded units of some blobs, in the live generation of their users; give it a thousand at a time."""
    keys = sorted(set(blobs))
    wanted = (
        func.unnest(*(_texts(f"keys_{number}", [key[number] for key in keys]) for number in range(3)))
        .table_valued(column("project_id", Text), column("user_id", Text), column("blob_id", Text))
        .render_derived("wanted")
    )
    query = (
        select(units)
        .join(
            wanted,
            (units.c.project_id == wanted.c.project_id)
            & (units.c.user_id == wanted.c.user_id)
            & (units.c.blob_id == wanted.c.blob_id),
        )
        .outerjoin(users, (users.c.project_id == units.c.project_id) & (users.c.user_id == units.c.user_id))
        .where(units.c.generation == func.coalesce(users.c.live_generation, LIVE_GENERATION))
    )
    found: dict[BlobKey, list[RecordedUnit]] = {}
    for row in (await connection.execute(query)).mappings():
        found.setdefault((row["project_id"], row["user_id"], row["blob_id"]), []).append(recorded_unit(row))
    return {key: tuple(rows) for key, rows in found.items()}


async def cut_offs(connection: AsyncConnection, owners: Collection[UserKey]) -> Mapping[UserKey, ForgetCutOff]:
    """The last forgets of those users who have one."""
    by_hash = {user_hash(*owner): owner for owner in owners}
    query = select(forgotten_users).where(forgotten_users.c.user_hash == func.any(_texts("hashes", sorted(by_hash))))
    return {
        by_hash[row.user_hash]: ForgetCutOff(row.forgotten_at, offsets_from_json(row.offsets))
        for row in (await connection.execute(query)).all()
    }


def _texts(name: str, values: list[str]) -> BindParameter[Any]:
    return bindparam(name, values, cast(Any, ARRAY(Text)))
