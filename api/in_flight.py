"""Blobs on their way into memory: what the buffer and the held windows say of them, put together."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from api.scope import Scope
from schemas.blob_states import BlobState, least_finished
from schemas.buffer_views import BufferView
from schemas.errors import RetryLater
from schemas.windows import Position, Unit
from storage.blob_listing import HeldUnit, read_held_units
from storage.ledger import read_ledger
from storage.reading import look_up_units
from storage.units import UnitBook

# For the worker to read what was sent just before; it takes milliseconds.
READ_WAIT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class InFlight:
    """A blob that is buffered, or in windows that are not finished; `units` are those that are at hand with their text.

    The timestamp of `position` may not be known, and is 0 then.
    """

    blob_id: str
    blob_type: str
    state: BlobState
    position: Position
    content_hash: str
    reason: str | None = None
    units: tuple[Unit, ...] = ()


def in_flight(view: BufferView, held: Iterable[HeldUnit], finished: Collection[UUID], topic: str) -> list[InFlight]:
    """Each blob once, in the state of what is the least finished of it, in the order in which they came.

    `topic` is the one that the view is of.
    """
    held = list(held)
    found: dict[str, InFlight] = {}

    def add(one: InFlight) -> None:
        other = found.get(one.blob_id, one)
        state = least_finished((one.state, other.state))
        found[one.blob_id] = replace(other, state=state, reason=other.reason or one.reason)

    for item in held:
        unit = item.unit
        known = found.get(unit.blob_id)
        units = (*known.units, unit) if known is not None else (unit,)
        found[unit.blob_id] = InFlight(
            unit.blob_id,
            item.blob_type,
            "held",
            unit.position,
            unit.content_hash,
            item.reason,
            units,
        )
    done = {*finished, *(item.window_id for item in held)}
    for window in view.closed:
        if window.window_id not in done:
            for blob in window.blobs:
                place = Position(topic=topic, partition=view.partition, offset=blob.offset, timestamp_ms=0)
                add(InFlight(blob.blob_id, window.blob_type, "extracting", place, blob.content_hash))
    for buffered in view.blobs:
        add(InFlight(buffered.blob_id, buffered.blob_type, "buffered", buffered.position, buffered.content_hash))
    return sorted(found.values(), key=lambda one: one.position.offset)


@dataclass(frozen=True, slots=True)
class Moving:
    """What is on its way of a user, and what is recorded of these and of other blobs that were asked for."""

    view: BufferView
    blobs: tuple[InFlight, ...]
    book: UnitBook


async def read_moving(scope: Scope, user_id: str, blob_ids: Collection[str] = ()) -> Moving:
    """Ask the buffer, then Postgres, so that nothing slips through between them; deleted blobs are left out.

    Raises RetryLater where the buffer cannot be asked, or has not read yet what this process has sent of the user.
    """
    gateway = scope.gateway
    sent = gateway.recent.last(scope.project_id, user_id)
    view = await gateway.buffers.view(scope.project_id, user_id, past=sent, wait_s=READ_WAIT_S if sent else 0.0)
    if sent is not None and not view.has_passed(sent):
        raise RetryLater("the buffer has not read yet what was sent last")
    async with scope.connection() as connection:
        held = await read_held_units(connection, scope.project_id, user_id)
        finished = await read_ledger(connection, [window.window_id for window in view.closed])
        found = in_flight(view, held, finished.keys(), gateway.texts.topic)
        names = {*blob_ids, *(one.blob_id for one in found)}
        book = await look_up_units(connection, scope.project_id, user_id, names)
    return Moving(view, tuple(one for one in found if not book.drops(one.blob_id, one.position)), book)
