"""Users whose messages are on their way: Postgres has no row of theirs before the first extraction."""

from dataclasses import dataclass
from datetime import UTC, datetime

from api.in_flight import read_moving
from api.scope import Scope


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
