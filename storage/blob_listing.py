"""Blobs of a user as they are recorded: their states, the oldest first, and what is held of them."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Subquery, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.blob_states import BlobState
from schemas.windows import Unit, Window
from storage.columns import LIVE_GENERATION
from storage.holding import held_record
from storage.tables import held_windows, units, users
from storage.units import ID_CONFLICT


@dataclass(frozen=True, slots=True)
class ListedBlob:
    """A blob and its state, which is parked while any piece of it is; `reason` says why, in a word of `delivery`."""

    blob_id: str
    state: BlobState
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class HeldUnit:
    """A unit in a held window, and why it is held."""

    unit: Unit
    window_id: UUID
    blob_type: str
    reason: str


async def list_recorded(
    connection: AsyncConnection,
    project_id: str,
    user_id: str,
    blob_type: str,
    *,
    limit: int,
    offset: int = 0,
    states: Collection[BlobState] = ("applied", "parked"),
) -> list[ListedBlob]:
    """A page of the blobs of a type that are applied or parked, the oldest first; erased ones are not listed."""
    listed = _listed(project_id, user_id, blob_type, states)
    query = select(listed).order_by(listed.c.first_ms, listed.c.first_offset, listed.c.blob_id)
    rows = (await connection.execute(query.limit(limit).offset(offset))).all()
    return [ListedBlob(row.blob_id, row.state, row.reason) for row in rows]


async def count_recorded(
    connection: AsyncConnection,
    project_id: str,
    user_id: str,
    blob_type: str,
    states: Collection[BlobState] = ("applied", "parked"),
) -> int:
    """How many blobs `list_recorded` has in all."""
    listed = _listed(project_id, user_id, blob_type, states)
    return int(await connection.scalar(select(func.count()).select_from(listed)) or 0)


async def read_held_units(connection: AsyncConnection, project_id: str, user_id: str) -> list[HeldUnit]:
    """Every unit that is held of a user, in the user's order."""
    query = (
        select(held_windows)
        .where(held_windows.c.project_id == project_id, held_windows.c.user_id == user_id)
        .order_by(held_windows.c.number)
    )
    found = []
    for row in (await connection.execute(query)).all():
        held = held_record(row)
        if isinstance(held.record, Window):
            window = held.record
            found += [HeldUnit(unit, window.window_id, window.blob_type, held.reason) for unit in window.units]
    return found


async def read_hold_reason(connection: AsyncConnection, ledger_id: UUID) -> str | None:
    """Why a window or command is held; None if it is not."""
    reason: str | None = await connection.scalar(
        select(held_windows.c.reason).where(held_windows.c.ledger_id == ledger_id)
    )
    return reason


def _listed(project_id: str, user_id: str, blob_type: str, states: Collection[BlobState]) -> Subquery:
    live = (
        select(users.c.live_generation)
        .where(users.c.project_id == project_id, users.c.user_id == user_id)
        .scalar_subquery()
    )
    rightful = units.c.reason.is_distinct_from(ID_CONFLICT)
    state = case((func.bool_or(units.c.state == "parked"), "parked"), else_="applied")
    query = (
        select(
            units.c.blob_id,
            state.label("state"),
            func.min(units.c.reason).label("reason"),
            func.min(units.c.timestamp_ms).label("first_ms"),
            func.min(units.c.offset).label("first_offset"),
        )
        .where(
            units.c.project_id == project_id,
            units.c.user_id == user_id,
            units.c.generation == func.coalesce(live, LIVE_GENERATION),
            units.c.blob_type == blob_type,
            # The other blob of the same id is the one that is meant.
            rightful,
        )
        .group_by(units.c.blob_id)
        .having(~func.bool_or(units.c.state == "erased"), state.in_(list(states)))
    )
    return query.subquery()
