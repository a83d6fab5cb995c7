"""What became of records of `chat-messages`, for `memostream audit`: look-ups in batches, and the decision, pure.

A record is asked for by its blob (project, user, blob id). Held windows, ledger rows and forgets are looked up
beside the units, for a unit row is written only when a window is done, and a forget leaves none.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any, Literal, cast

from sqlalchemy import ARRAY, BindParameter, Text, bindparam, column, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.windows import Position, Window
from storage.holding import all_held
from storage.reading import offsets_from_json, recorded_unit, user_hash
from storage.tables import LIVE_GENERATION, forgotten_users, units, users
from storage.units import ID_CONFLICT, ForgetCutOff, RecordedUnit

BlobKey = tuple[str, str, str]
UserKey = tuple[str, str]
RecordState = Literal["applied", "parked", "erased", "duplicate", "forwarded"]


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
    for row in (await connection.execute(query)).all():
        found.setdefault((row.project_id, row.user_id, row.blob_id), []).append(recorded_unit(row))
    return {key: tuple(rows) for key, rows in found.items()}


async def units_of_range(
    connection: AsyncConnection, topic: str, partition: int, from_offset: int, to_offset: int
) -> AsyncIterator[RecordedUnit]:
    """Units recorded at positions of one partition, `to_offset` excluded, by offset, streamed."""
    query = (
        select(units)
        .where(
            units.c.topic == topic,
            units.c.partition == partition,
            units.c.offset >= from_offset,
            units.c.offset < to_offset,
        )
        .order_by(units.c.offset, units.c.message_index, units.c.part)
    )
    async with connection.stream(query) as rows:
        async for row in rows:
            yield recorded_unit(row)


async def held_blobs(connection: AsyncConnection) -> set[BlobKey]:
    """All blobs of which a piece is held."""
    found = set()
    async for held in all_held(connection):
        if isinstance(held.record, Window):
            window = held.record
            found |= {(window.project_id, window.user_id, unit.blob_id) for unit in window.units}
    return found


async def cut_offs(connection: AsyncConnection, owners: Collection[UserKey]) -> Mapping[UserKey, ForgetCutOff]:
    """The last forgets of those users who have one."""
    by_hash = {user_hash(*owner): owner for owner in owners}
    query = select(forgotten_users).where(forgotten_users.c.user_hash == func.any(_texts("hashes", sorted(by_hash))))
    return {
        by_hash[row.user_hash]: ForgetCutOff(row.forgotten_at, offsets_from_json(row.offsets))
        for row in (await connection.execute(query)).all()
    }


def record_state(
    position: Position,
    content_hash: str,
    rows: Iterable[RecordedUnit],
    cut_off: ForgetCutOff | None = None,
    origin: Position | None = None,
) -> RecordState | None:
    """What became of the record at `position`; None if storage knows nothing of it yet.

    `origin` is that in the record's own headers. A record of which one piece is parked is `parked`. `forwarded` is
    the misplaced original of a copy; `duplicate` one whose blob was taken from another position.
    """
    if cut_off is not None and cut_off.covers(origin or position):
        return "erased"
    known = list(rows)
    here = [row for row in known if row.position == position and row.content_hash == content_hash]
    if here:
        states = {row.state for row in here}
        return "parked" if "parked" in states else "erased" if states == {"erased"} else "applied"
    if any(row.state == "erased" for row in known):
        return "erased"
    if any(row.origin == position for row in known):
        return "forwarded"
    if any(row.content_hash == content_hash and row.reason != ID_CONFLICT for row in known):
        return "duplicate"
    return None


def _texts(name: str, values: list[str]) -> BindParameter[Any]:
    return bindparam(name, values, cast(Any, ARRAY(Text)))
