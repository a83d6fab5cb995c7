"""How a batch of one user comes to its end: applied, commanded or held, and waited for in between."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import structlog

from agents.accounts import Accounts, BudgetReached
from agents.application import Applier, InTransaction, nothing_more
from agents.counting import under_way
from agents.dependencies import ExtractionDeps
from agents.endpoint import Endpoint
from agents.faults import UserKey, backoff_s
from agents.waits import Waits
from schemas.errors import EndpointRefused, RetryLater
from schemas.windows import Position, Window, WindowCommand
from storage.commands import apply_command
from storage.errors import translated
from storage.forgetting import not_forgotten
from storage.holding import BUDGET, first_held_reason, hold

log = structlog.get_logger()

ENDPOINT_AWAY: Final = "endpoint-away"
ENDPOINT_REFUSED: Final = "endpoint-refused"
BEHIND_HELD: Final = "behind-held"

Records = Sequence[tuple[Window | WindowCommand, Position]]


class Settler:
    """Shared by all users of a worker, and by the timer that retries held ones; bounds what runs side by side."""

    def __init__(self, deps: ExtractionDeps) -> None:
        self._deps = deps
        self.waits = Waits()
        endpoint = Endpoint(
            deps.extractor, deps.health, deps.extraction.failing_users_limit, deps.clock.monotonic, self.waits
        )
        self._applier = Applier(deps, endpoint, Accounts(deps))
        self._slots = asyncio.Semaphore(deps.extraction.concurrency)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin nothing again: what waits for another attempt is handed back at once."""
        self._stopping.set()

    async def settle(self, user: UserKey, records: Records, is_ours: Callable[[], bool], full: asyncio.Event) -> bool:
        """True when the records are applied or held; `records` are one command, or windows of one blob type.

        A user who has to wait is held after `hold_after_s`, or once `full` is set, for then nobody else's records are
        read; at once where a budget is used up, until the day ends. Waits as long as it takes while Postgres is away,
        and with a forget, which needs no model: held, it would stand behind what it is to remove.
        False, with nothing done, when `is_ours` says that another worker has the records, or after `stop`. For a shadow
        nobody is held, and what it does not take is left out, as are commands: the live stages do them.
        """
        shadow = self._deps.shadow
        if shadow is not None:
            records = [item for item in records if isinstance(item[0], Window) and shadow.takes(*item)]
        clock, settings = self._deps.clock, self._deps.extraction
        hold_at_s = clock.monotonic() + settings.hold_after_s
        may_hold = shadow is None and not has_forget(records)
        failures = 0
        hold_reason = BEHIND_HELD
        hold_until: datetime | None = None
        while is_ours() and not self._stopping.is_set():
            waited = full.is_set() or clock.monotonic() >= hold_at_s
            must_hold = hold_until is not None or (may_hold and failures > 0 and waited)
            try:
                if must_hold:
                    left = await self._hold(user, records, hold_reason, hold_until)
                else:
                    left = await self._hold_behind(user, records)
                if left:
                    await self.apply(user, left, failures + 1)
                return True
            except BudgetReached as error:
                hold_reason, hold_until = BUDGET, error.until
                self._deps.metrics.add("memostream_extraction_waits_total", reason=BUDGET)
            except RetryLater as error:
                failures += 1
                self._deps.metrics.add("memostream_extraction_waits_total", reason=reason_of(error))
                if hold_until is None:
                    hold_reason = reason_of(error)
                delay_s = self.backoff_s(failures, error)
                left_s = hold_at_s - clock.monotonic()
                if left_s > 0 and may_hold:
                    delay_s = min(delay_s, left_s)
                log.warning(
                    "extraction.waiting",
                    project_id=user[0],
                    user_id=user[1],
                    reason=str(error),
                    failures=failures,
                    delay_s=round(delay_s, 3),
                )
                # Where holding itself has failed, for Postgres is away, only time helps.
                await self._sleep(delay_s, full if may_hold and not must_hold else None)
        return False

    async def apply(
        self, user: UserKey, records: Records, attempts: int, in_transaction: InTransaction = nothing_more
    ) -> None:
        """One attempt, when there is a free slot; waiting for another one takes no slot."""
        async with self._slots:
            with under_way(self._deps.metrics):
                windows = [(record, position) for record, position in records if isinstance(record, Window)]
                if windows:
                    await self._applier.apply_windows(user, windows, attempts, in_transaction)
                for record, position in records:
                    if isinstance(record, WindowCommand):
                        await self._command(record, position, in_transaction)

    def backoff_s(self, failures: int, error: RetryLater) -> float:
        """How long to wait after so many failures in a row; a used up budget is none, and ends with the day."""
        if isinstance(error, BudgetReached):
            return error.delay_s
        settings = self._deps.extraction
        jitter = self._deps.clock.jitter()
        return backoff_s(failures, settings.retry_min_s, settings.retry_max_s, error.delay_s, jitter)

    async def _sleep(self, delay_s: float, full: asyncio.Event | None) -> None:
        """Until the delay is over, `stop` is called, or the user can be held because the queue is full."""
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._deps.clock.sleep(delay_s)),
            asyncio.create_task(self._stopping.wait()),
        ]
        if full is not None:
            waits.append(asyncio.create_task(full.wait()))
        try:
            with self.waits.one():
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _command(self, command: WindowCommand, position: Position, in_transaction: InTransaction) -> None:
        clock = self._deps.clock
        end_offsets = await self._deps.end_offsets() if is_forget(command) else {}
        with translated("applying a command"):
            async with self._deps.engine.begin() as connection:
                await apply_command(connection, command, position, clock.now(), clock.new_id, end_offsets)
                await in_transaction(connection)
        log.info("extraction.command_applied", command=command.command.command, command_id=command.command_id)

    async def _hold_behind(self, user: UserKey, records: Records) -> Records:
        """Put the records behind the user's held ones, if there are any, and return what is to be applied; a forget
        does not wait for them.

        Only the worker that has the user's partition adds to them, so a no stays a no; and where the timer finishes
        the last of them meanwhile, these are simply the next that it takes.
        """
        if has_forget(records) or self._deps.shadow is not None:
            return records
        with translated("looking for held windows"):
            async with self._deps.engine.connect() as connection:
                reason = await first_held_reason(connection, *user)
        if reason is None:
            return records
        return await self._hold(user, records, BUDGET if reason == BUDGET else BEHIND_HELD)

    async def _hold(self, user: UserKey, records: Records, reason: str, due_at: datetime | None = None) -> Records:
        """Returns what is not held, for a forget covers it: it is applied as erased, which needs no model."""
        with translated("holding windows"):
            async with self._deps.engine.begin() as connection:
                kept = await not_forgotten(connection, *user, records)
                for record, position in kept:
                    await hold(connection, record, position, reason, self._deps.clock.now(), due_at)
        positions = {position for _, position in kept}
        self._deps.metrics.add("memostream_windows_held_total", len(kept), reason=reason)
        # A budget is reported once, when it is reached.
        if kept and reason != BUDGET:
            log.warning("extraction.held", project_id=user[0], user_id=user[1], records=len(kept), reason=reason)
        return [(record, position) for record, position in records if position not in positions]


def has_forget(records: Records) -> bool:
    return any(isinstance(record, WindowCommand) and is_forget(record) for record, _ in records)


def is_forget(command: WindowCommand) -> bool:
    return command.command.command == "forget-user"


def reason_of(error: RetryLater) -> str:
    """The code under which a user is held."""
    if isinstance(error, BudgetReached):
        return BUDGET
    return ENDPOINT_REFUSED if isinstance(error, EndpointRefused) else ENDPOINT_AWAY
