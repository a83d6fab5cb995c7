"""Calls that wait for extraction: for the windows that a blob went into, or for a flush to be done."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from api.errors import ApiError
from api.gateway import Gateway
from api.models.blobs import ChatModal
from api.scope import Scope
from schemas.blob_states import BlobState, least_finished
from schemas.buffer_views import BufferView
from schemas.errors import RetryLater
from schemas.windows import Position
from storage.blob_listing import read_hold_reason
from storage.holding import BUDGET
from storage.ledger import LedgerRow
from storage.reading import look_up_units
from storage.units import ID_CONFLICT, UnitBook
from storage.window_results import WindowResult, read_window_results

# How long the owner of the buffer may hold one question.
VIEW_WAIT_S: Final = 5.0
RETRY_S: Final = 0.25
# Between looks at whether what is waited for was put off, and at whether the gateway stops; the first comes sooner.
HELD_POLL_S: Final = 3.0
FIRST_POLL_S: Final = 0.5
# Between looks for a blob whose window nobody remembers.
UNITS_POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Waited:
    """Where a blob stands after the wait, and what came of its windows, if they are done."""

    state: BlobState
    reason: str | None = None
    results: tuple[ChatModal, ...] = ()


class Deadline:
    """The end of a call's patience: after `api.wait_timeout_s`, or when the gateway stops."""

    def __init__(self, gateway: Gateway) -> None:
        self._stopping = gateway.stopping
        self._loop = asyncio.get_running_loop()
        self._end_s = self._loop.time() + gateway.settings.api.wait_timeout_s

    @property
    def left_s(self) -> float:
        return 0.0 if self._stopping.is_set() else max(0.0, self._end_s - self._loop.time())

    async def sleep(self, delay_s: float) -> None:
        """Less, where less is left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(delay_s, self.left_s)):
                await self._stopping.wait()


async def wait_for_blob(scope: Scope, user_id: str, blob_id: str, position: Position) -> Waited:
    """Until the blob is buffered, or its windows are done, or the time is up: then the state says how far it came.

    It raises nothing: the blob is in Kafka, and an error would make its caller send it again.
    """
    deadline = Deadline(scope.gateway)
    view = await _passed(scope, user_id, position, deadline)
    if view is None:
        return Waited("unread")
    # First, for what is buffered may be another blob that came under this id.
    refusal = view.refusal_of(position)
    if refusal is not None:
        return Waited("parked", refusal)
    if view.buffered(blob_id) is not None:
        return Waited("buffered")
    window_ids = view.windows_of(blob_id)
    for window_id in window_ids:
        row, held = await _row(scope, window_id, deadline)
        if row is None:
            return Waited("extracting" if held is None else "held", held)
    while True:
        with suppress(RetryLater):
            waited = await _recorded(scope, user_id, blob_id, position)
            if waited is not None:
                return waited
            if window_ids:
                # They are done and have not even erased it: the user was forgotten.
                return Waited("erased")
        if not deadline.left_s:
            return Waited("extracting")
        await deadline.sleep(UNITS_POLL_S)


async def wait_for_command(scope: Scope, user_id: str, ledger_id: UUID) -> tuple[ChatModal, ...]:
    """What a flush changed, once it is done with all that the user sent before it.

    Raises ApiError (504) when the time is up; the flush goes on, and another one does no harm.
    """
    gateway = scope.gateway
    row, held = await _row(scope, ledger_id, Deadline(gateway))
    if row is None:
        why = "extraction has not come to it yet" if held is None else f"the user's windows are held ({held})"
        limit_s = gateway.settings.api.wait_timeout_s
        raise ApiError(504, f"what was sent is safe and goes on, but it was not done within {limit_s:g} s: {why}")
    async with scope.connection() as connection:
        found = await read_window_results(connection, scope.project_id, user_id, row.window_ids)
    return chat_results(found, bool(row.window_ids))


def chat_results(found: Sequence[WindowResult], is_done: bool) -> tuple[ChatModal, ...]:
    """One for each extraction that changed something; where none did, one that says so, if there was one at all."""
    results = found or ([WindowResult(None, (), (), ())] if is_done else [])
    return tuple(
        ChatModal(
            event_id=one.event_id,
            add_profiles=one.added,
            update_profiles=one.updated,
            delete_profiles=one.deleted,
        )
        for one in results
    )


def recorded_state(book: UnitBook, blob_id: str) -> Waited | None:
    """What is recorded of a blob; None if nothing is."""
    if book.is_erased(blob_id):
        return Waited("erased")
    rows = book.rightful(blob_id)
    if not rows:
        return None
    reason = next((row.reason for row in rows if row.state == "parked"), None)
    return Waited(least_finished(row.state for row in rows), reason)


async def _passed(scope: Scope, user_id: str, position: Position, deadline: Deadline) -> BufferView | None:
    """The buffer once it has read the record there; None if that takes too long."""
    while deadline.left_s:
        try:
            view = await scope.gateway.buffers.view(
                scope.project_id, user_id, past=position, wait_s=min(VIEW_WAIT_S, deadline.left_s)
            )
            if view.has_passed(position):
                return view
        except RetryLater as error:
            await deadline.sleep(max(RETRY_S, error.delay_s))
    return None


async def _row(scope: Scope, ledger_id: UUID, deadline: Deadline) -> tuple[LedgerRow | None, str | None]:
    """The row, or, if it does not come in time, why its record is held; a budget is not waited for."""
    held: str | None = None
    poll_s = FIRST_POLL_S
    while True:
        row = await scope.gateway.ledger.wait(ledger_id, min(poll_s, deadline.left_s))
        poll_s = HELD_POLL_S
        if row is not None:
            return row, None
        with suppress(RetryLater):
            async with scope.connection() as connection:
                held = await read_hold_reason(connection, ledger_id)
        if held == BUDGET or not deadline.left_s:
            return None, held


async def _recorded(scope: Scope, user_id: str, blob_id: str, position: Position) -> Waited | None:
    async with scope.connection() as connection:
        book = await look_up_units(connection, scope.project_id, user_id, {blob_id})
        if book.is_conflict(blob_id, position):
            return Waited("parked", ID_CONFLICT)
        waited = recorded_state(book, blob_id)
        if waited is None or waited.state == "erased":
            return waited
        window_ids = {row.window_id for row in book.rightful(blob_id) if row.window_id is not None}
        found = await read_window_results(connection, scope.project_id, user_id, window_ids)
    return Waited(waited.state, waited.reason, chat_results(found, waited.state == "applied"))
