"""Users whose messages are on their way: Postgres has no row of theirs before the first extraction."""

from dataclasses import dataclass
from datetime import UTC, datetime

from api.in_flight import read_moving
from api.scope import Scope
from storage.ledger import read_ledger
from storage.reading import read_cut_off


@dataclass(frozen=True, slots=True)
class OnItsWay:
    """When the first and the last message came that are not extracted yet, where that is known."""

    first_at: datetime | None
    last_at: datetime | None


async def find_on_its_way(scope: Scope, user_id: str) -> OnItsWay | None:
    """What is buffered, held, or in a window that is being extracted; None where nothing is.

    Raises RetryLater while the owner of the user's partition does not answer.
    """
    moving = await read_moving(scope, user_id)
    cut_off = moving.book.cut_off
    # A forget may be done here before the buffer comes to its command.
    places = [blob.position for blob in moving.blobs if cut_off is None or not cut_off.covers(blob.position)]
    if not places:
        return None
    # Of one that is being extracted, the buffer does not keep the time.
    times = [datetime.fromtimestamp(place.timestamp_ms / 1000, UTC) for place in places if place.timestamp_ms]
    return OnItsWay(min(times, default=None), max(times, default=None))


async def has_open_windows(scope: Scope, user_id: str) -> bool:
    """Whether anything of the user is still to be extracted; also in windows that the owner of the partition does not
    remember, since another one has closed them. It reads a topic: for calls that may overlook nobody.
    """
    windows = await scope.gateway.texts.unfinished(scope.project_id, user_id)
    if not windows:
        return False
    async with scope.connection() as connection:
        finished = await read_ledger(connection, [window.window_id for window in windows])
        cut_off = await read_cut_off(connection, scope.project_id, user_id)
    return any(
        window.window_id not in finished and (cut_off is None or not cut_off.covers(unit.first_position))
        for window in windows
        for unit in window.units
    )
