"""Users whose messages are on their way: Postgres has no row of theirs before the first extraction."""

from dataclasses import dataclass
from datetime import UTC, datetime

from api.scope import Scope
from storage.holding import first_held_reason
from storage.ledger import read_ledger
from storage.reading import read_cut_off


@dataclass(frozen=True, slots=True)
class OnItsWay:
    """When the first and the last message came that are not extracted; None where only their windows are known."""

    first_at: datetime | None
    last_at: datetime | None


async def is_on_its_way(scope: Scope, user_id: str) -> OnItsWay | None:
    """Looks into the buffer, and for windows that are closed or held; None where nothing is there.

    Raises RetryLater while the owner of the user's partition does not answer.
    """
    view = await scope.gateway.buffers.view(scope.project_id, user_id)
    async with scope.connection() as connection:
        cut_off = await read_cut_off(connection, scope.project_id, user_id)
        held = await first_held_reason(connection, scope.project_id, user_id)
        closed = {window.window_id for window in view.closed}
        finished = await read_ledger(connection, closed) if closed else {}
    # A forget is done here before the buffer comes to its command.
    blobs = [blob for blob in view.blobs if cut_off is None or not cut_off.covers(blob.origin or blob.position)]
    if not blobs and held is None and closed <= finished.keys():
        return None
    times = [datetime.fromtimestamp(blob.recorded_at_ms / 1000, UTC) for blob in blobs]
    return OnItsWay(min(times, default=None), max(times, default=None))
