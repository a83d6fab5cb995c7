"""Finding a user's blobs, wherever they are: buffered, on their way, in memory."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from api.errors import ApiError
from api.in_flight import InFlight, Moving, read_moving
from api.scope import Scope
from api.waiting import Waited, recorded_state
from schemas.blob_states import BlobState, least_finished
from storage.blob_listing import ListedBlob, count_recorded, list_recorded
from storage.kept_blobs import KeptPiece, read_kept_blobs
from storage.reading import look_up_units, read_cut_off
from storage.units import WHOLE, RecordedUnit

NOT_FOUND: Final = "the user has no such blob"


@dataclass(frozen=True, slots=True)
class Located:
    """Where a blob stands, and what is known of it."""

    waited: Waited
    rows: tuple[RecordedUnit, ...] = ()
    kept: tuple[KeptPiece, ...] = ()
    moving: InFlight | None = None


async def locate(scope: Scope, user_id: str, blob_id: str) -> Located:
    """Raises ApiError (404) for a blob that nobody knows or that was deleted, and RetryLater."""
    located = await _look(scope, user_id, blob_id, None)
    if located is None or not any(row.message_index == WHOLE for row in located.rows):
        # Nothing is recorded, or a part: the rest may be on its way.
        moving = await read_moving(scope, user_id, {blob_id})
        located = await _look(scope, user_id, blob_id, moving) or await _unfinished(scope, user_id, blob_id)
    if located is None or located.waited.state == "erased":
        raise ApiError(404, NOT_FOUND)
    return located


async def list_blobs(scope: Scope, user_id: str, blob_type: str, *, limit: int, offset: int) -> list[ListedBlob]:
    """A page of the user's blobs of a type, the oldest first: what is recorded, then what is on its way.

    Raises RetryLater where the page reaches into the buffer and that cannot be asked.
    """
    project_id = scope.project_id
    async with scope.connection() as connection:
        page = await list_recorded(connection, project_id, user_id, blob_type, limit=limit, offset=offset)
    if len(page) == limit:
        return page
    moving = await read_moving(scope, user_id)
    async with scope.connection() as connection:
        # Once more: what was on its way then may be recorded by now.
        page = await list_recorded(connection, project_id, user_id, blob_type, limit=limit, offset=offset)
        total = await count_recorded(connection, project_id, user_id, blob_type)
        ids = [one.blob_id for one in moving.blobs]
        book = await look_up_units(connection, project_id, user_id, ids)
    listed = [
        ListedBlob(one.blob_id, one.state, one.reason)
        for one in moving.blobs
        if one.blob_type == blob_type and recorded_state(book, one.blob_id) is None
    ]
    begin = max(0, offset - total)
    return [*page, *listed[begin : begin + limit - len(page)]]


async def list_by_state(
    scope: Scope, user_id: str, blob_type: str, states: Collection[BlobState], *, limit: int, offset: int
) -> list[str]:
    """A page of the ids of the blobs of a type that are on their way in one of these states, the oldest first.

    What was sent once more is left out where it is in memory already.
    """
    moving = await read_moving(scope, user_id)
    ids = []
    for one in moving.blobs:
        recorded = recorded_state(moving.book, one.blob_id)
        if one.blob_type == blob_type and one.state in states and (recorded is None or recorded.state != "applied"):
            ids.append(one.blob_id)
    return ids[offset : offset + limit]


async def _look(scope: Scope, user_id: str, blob_id: str, moving: Moving | None) -> Located | None:
    async with scope.connection() as connection:
        book = await look_up_units(connection, scope.project_id, user_id, {blob_id})
        rows = book.rightful(blob_id)
        kept = await read_kept_blobs(connection, scope.project_id, user_id, {blob_id}) if rows else {}
    recorded = recorded_state(book, blob_id)
    if moving is None:
        return None if recorded is None else Located(recorded, rows, kept.get(blob_id, ()))
    found = next((one for one in moving.blobs if one.blob_id == blob_id), None)
    if recorded is not None and recorded.state == "erased":
        return Located(recorded)
    if found is not None:
        states = [found.state, *(row.state for row in rows)]
        reason = found.reason or (recorded.reason if recorded else None)
        return Located(Waited(least_finished(states), reason), rows, kept.get(blob_id, ()), found)
    if recorded is not None:
        return Located(recorded, rows, kept.get(blob_id, ()))
    refusal = next((parked.reason for parked in moving.view.parked if parked.blob_id == blob_id), None)
    return None if refusal is None else Located(Waited("parked", refusal))


async def _unfinished(scope: Scope, user_id: str, blob_id: str) -> Located | None:
    """A blob in windows that the owner of the buffer does not remember, as after a change of hands."""
    windows = await scope.gateway.texts.unfinished(scope.project_id, user_id)
    units = tuple(unit for window in windows for unit in window.units if unit.blob_id == blob_id)
    # Once more, for it may have been finished while we looked.
    recorded = await _look(scope, user_id, blob_id, None)
    if recorded is not None or not units:
        return recorded
    first = units[0]
    async with scope.connection() as connection:
        cut_off = await read_cut_off(connection, scope.project_id, user_id)
    if cut_off is not None and cut_off.covers(first.first_position):
        return None
    blob_type = first.content["blob_type"]
    moving = InFlight(blob_id, blob_type, "extracting", first.position, first.content_hash, units=units)
    return Located(Waited("extracting"), moving=moving)
