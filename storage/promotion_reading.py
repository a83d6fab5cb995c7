"""Both memories of a user, the live one and that of a shadow, as a promotion needs to know them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Table, func, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.memory import ExtractorIdentity
from schemas.windows import Position
from storage.browsing import EventRow, HistoryRow, read_events, read_profile_history
from storage.ledger import read_ledger
from storage.locking import LockedUser, live_rows
from storage.profile_writing import ProfileRow, read_rows
from storage.promotion_events import EventEditRow
from storage.reading import recorded_unit
from storage.shadow_comparing import BY_HAND
from storage.shadow_tables import shadow_letters, shadow_users, shadow_windows
from storage.tables import edit_history, events, profile_history, units
from storage.units import RecordedUnit


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter that waits for the promotion."""

    letter_id: UUID
    blob_id: str
    payload: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sides:
    """What there is of a user.

    `edited` is the live history of all entries with an edit by hand; `shadow_history` is that of the shadow's entries,
    which only such edits need. `extractors` made the shadow's memory. `window_places` is empty unless it was asked for.
    """

    live_profile: Sequence[ProfileRow]
    live_events: Sequence[EventRow]
    live_units: Sequence[RecordedUnit]
    edited: Sequence[HistoryRow]
    event_edits: Sequence[EventEditRow]
    shadow_profile: Sequence[ProfileRow]
    shadow_events: Sequence[EventRow]
    shadow_units: Sequence[RecordedUnit]
    shadow_history: Sequence[HistoryRow]
    done_windows: frozenset[UUID]
    window_places: Mapping[UUID, Position]
    letters: Sequence[Letter]
    extractors: Sequence[ExtractorIdentity]


async def read_sides(connection: AsyncConnection, live: LockedUser, generation: int, *, with_places: bool) -> Sides:
    """What there is of a user whose rows are locked; `with_places` asks where live windows lie."""
    shadow = _at(live, generation)
    live_units = await _units(connection, live)
    edited = await _history_of(connection, live, await _edited_by_hand(connection, live))
    shadow_profile = await read_rows(connection, shadow)
    return Sides(
        live_profile=await read_rows(connection, live),
        live_events=await _events(connection, live),
        live_units=live_units,
        edited=edited,
        event_edits=await _event_edits(connection, live),
        shadow_profile=shadow_profile,
        shadow_events=await _events(connection, shadow),
        shadow_units=await _units(connection, shadow),
        shadow_history=await _history_of(
            connection, shadow, [row.profile_id for row in shadow_profile] if edited else []
        ),
        done_windows=frozenset(
            (
                await connection.scalars(select(shadow_windows.c.window_id).where(*live_rows(shadow, shadow_windows)))
            ).all()
        ),
        window_places=await _places(connection, live_units) if with_places else {},
        letters=await _letters(connection, shadow),
        extractors=await _extractors(connection, shadow),
    )


def _at(user: LockedUser, generation: int) -> LockedUser:
    return LockedUser(user.project_id, user.user_id, user.revision, user.seq, generation)


async def _edited_by_hand(connection: AsyncConnection, user: LockedUser) -> Collection[UUID]:
    query = select(profile_history.c.profile_id).where(
        *live_rows(user, profile_history), profile_history.c.extractor.is_(None), profile_history.c.why.in_(BY_HAND)
    )
    return set((await connection.scalars(query)).all())


async def _history_of(connection: AsyncConnection, user: LockedUser, profile_ids: Collection[UUID]) -> list[HistoryRow]:
    found = await read_profile_history(
        connection, user.project_id, user.user_id, profile_ids, generation=user.live_generation
    )
    return sorted((row for rows in found.values() for row in rows), key=lambda row: row.history_id)


async def _events(connection: AsyncConnection, user: LockedUser) -> list[EventRow]:
    found = await read_events(connection, user.project_id, user.user_id, None, generation=user.live_generation)
    return found[::-1]


async def _event_edits(connection: AsyncConnection, user: LockedUser) -> list[EventEditRow]:
    columns = (edit_history.c[name] for name in ("event_id", "op", "before", "after"))
    query = (
        select(*columns)
        .where(*live_rows(user, edit_history), edit_history.c.kind == "event")
        .order_by(edit_history.c.edit_id)
    )
    return [EventEditRow(row.event_id, row.op, row.before, row.after) for row in await connection.execute(query)]


async def _units(connection: AsyncConnection, user: LockedUser) -> list[RecordedUnit]:
    rows = await connection.execute(select(units).where(*live_rows(user, units)))
    return [recorded_unit(row) for row in rows.mappings()]


async def _places(connection: AsyncConnection, live_units: Collection[RecordedUnit]) -> Mapping[UUID, Position]:
    windows = {unit.window_id for unit in live_units if unit.window_id is not None}
    return {identifier: row.position for identifier, row in (await read_ledger(connection, windows)).items()}


async def _letters(connection: AsyncConnection, user: LockedUser) -> list[Letter]:
    query = (
        select(shadow_letters)
        .where(*live_rows(user, shadow_letters))
        .order_by(shadow_letters.c.created_at, shadow_letters.c.letter_id)
    )
    rows = await connection.execute(query)
    return [Letter(row.letter_id, row.blob_id, row.payload, row.headers) for row in rows]


async def _extractors(connection: AsyncConnection, user: LockedUser) -> list[ExtractorIdentity]:
    def named(table: Table) -> Any:
        return select(table.c.extractor).where(*live_rows(user, table), table.c.extractor.is_not(None))

    query = union(named(profile_history), named(events))
    return [ExtractorIdentity(**row.extractor) for row in await connection.execute(query)]


async def count_users(
    connection: AsyncConnection, generation: int, project_id: str | None = None, user_id: str | None = None
) -> tuple[int, int]:
    """How many of the shadow's users, or of those that are named, are not promoted, and how many are."""
    named = {"generation": generation, "project_id": project_id, "user_id": user_id}
    query = select(func.count(), func.count(shadow_users.c.promoted_at)).where(
        *(shadow_users.c[name] == value for name, value in named.items() if value is not None)
    )
    total, promoted = (await connection.execute(query)).one()
    return total - promoted, promoted
