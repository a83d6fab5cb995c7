"""Sending a blob to Kafka, unless it is known already where it stands."""

import asyncio
from typing import Final

from api.errors import ApiError
from api.inserting import Insertion, conflict_of
from api.scope import Scope
from api.waiting import Waited, recorded_state
from schemas.errors import RetryLater
from schemas.windows import Position
from storage.reading import look_up_units

# An insert needs neither Postgres nor a worker, and waits no longer for what they know.
LOOK_TIMEOUT_S: Final = 1.0


async def send_once(scope: Scope, user_id: str, insertion: Insertion) -> Position | Waited:
    """Where the record lies, or where the blob stands that was sent before.

    Raises ApiError where another blob has the id, InvalidRecord, and RetryLater where it was not acknowledged.
    """
    known = await _known(scope, user_id, insertion) if insertion.is_named else None
    if known is not None:
        return known
    position = await scope.gateway.message_log.send_blob(insertion.blob)
    scope.gateway.recent.note(scope.project_id, user_id, position)
    return position


async def require_taken(scope: Scope, user_id: str, insertion: Insertion) -> None:
    """Raises ApiError where a blob whose window is done was not taken into memory."""
    async with scope.connection() as connection:
        book = await look_up_units(connection, scope.project_id, user_id, {insertion.blob_id})
    conflict = conflict_of(insertion, book, None)
    if conflict is not None:
        raise conflict
    recorded = recorded_state(book, insertion.blob_id)
    if recorded is not None and recorded.state == "parked":
        raise ApiError(520, f"it could not be extracted and was parked: {recorded.reason}")


async def _known(scope: Scope, user_id: str, insertion: Insertion) -> Waited | None:
    """Where the blob stands already, so that it need not be sent once more; None if it must be, also if parked.

    Raises ApiError where another blob has the id. Inserting needs Kafka alone: what cannot be looked up now, and what
    arrives side by side, is told apart later, by the buffer and by extraction.
    """
    buffered_hash = None
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            async with scope.connection() as connection:
                book = await look_up_units(connection, scope.project_id, user_id, {insertion.blob_id})
            if not book.recorded:
                view = await scope.gateway.buffers.view(scope.project_id, user_id)
                buffered = view.buffered(insertion.blob_id)
                buffered_hash = None if buffered is None else buffered.content_hash
    except (RetryLater, TimeoutError):
        return None
    conflict = conflict_of(insertion, book, buffered_hash)
    if conflict is not None:
        raise conflict
    if buffered_hash is not None:
        return Waited("buffered")
    recorded = recorded_state(book, insertion.blob_id)
    return recorded if recorded is not None and recorded.state == "applied" else None
