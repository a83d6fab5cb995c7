"""The timer that tries held users again, each user's records in order, until nothing of them is held."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from agents.dependencies import ExtractionDeps
from agents.faults import UserKey
from agents.settling import Settler, reason_of
from agents.user_queues import BatchLimits, batch_size
from schemas.errors import RetryLater
from storage.errors import translated
from storage.holding import BUDGET, HeldRecord, due, make_due, read_held, release, renew, reschedule
from streams.stopping import FAREWELL_S

log = structlog.get_logger()

# Records of one user that are looked at to be extracted together.
LOOK_AHEAD: Final = 64


class HoldTimer:
    """Claims users that are due, so that any number of workers may run one; `failed` is told of unexpected errors."""

    def __init__(self, deps: ExtractionDeps, settler: Settler, failed: Callable[[BaseException], None]) -> None:
        self._deps = deps
        self._settler = settler
        self._failed = failed
        self._running: dict[asyncio.Task[None], HeldRecord] = {}
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`."""
        is_first = True
        loop = asyncio.get_running_loop()
        renew_at_s = 0.0
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if is_first:
                    await self._look_at_budgets()
                    is_first = False
                # Well before they run out, however long an extraction takes.
                if self._running and loop.time() >= renew_at_s:
                    await self._renew()
                    renew_at_s = loop.time() + self._deps.hold_claim_s / 3
                for first in await self._claim():
                    if self._stopping.is_set():
                        await self._give_back(first, 0.0, first.reason)
                        continue
                    task = asyncio.create_task(self._retry(first))
                    self._running[task] = first
                    task.add_done_callback(self._ended)
            except RetryLater as error:
                log.warning("holds.waiting", reason=str(error))
            try:
                async with asyncio.timeout(self._deps.hold_poll_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def stop(self, timeout_s: float) -> None:
        """Let what runs finish for `timeout_s`, cancel the rest and give it back to whoever comes next."""
        self._stopping.set()
        self._wake.set()
        if not self._running:
            return
        _, late = await asyncio.wait(list(self._running), timeout=timeout_s)
        left = [self._running[task] for task in late]
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=FAREWELL_S)
        try:
            async with asyncio.timeout(FAREWELL_S):
                for first in left:
                    await self._give_back(first, 0.0, first.reason)
        # The claims run out by themselves.
        except TimeoutError as error:
            log.warning("holds.not_given_back", reason=type(error).__name__)

    async def _look_at_budgets(self) -> None:
        """The configuration is read at a start, and budgets may be higher now than when users were held."""
        with translated("looking at users held for a budget"):
            async with self._deps.engine.begin() as connection:
                await make_due(connection, BUDGET, self._deps.clock.now())

    async def _claim(self) -> list[HeldRecord]:
        room = self._deps.extraction.concurrency - len(self._running)
        if room <= 0:
            return []
        with translated("claiming held users"):
            async with self._deps.engine.begin() as connection:
                return await due(
                    connection, self._deps.worker_name, self._deps.clock.now(), room, self._deps.hold_claim_s
                )

    async def _renew(self) -> None:
        claimed = [first.ledger_id for first in self._running.values()]
        with translated("renewing claims on held users"):
            async with self._deps.engine.begin() as connection:
                await renew(connection, self._deps.worker_name, claimed, self._deps.hold_claim_s)

    async def _retry(self, first: HeldRecord) -> None:
        user = (first.record.project_id, first.record.user_id)
        try:
            batch = await self._batch(user)
            # Another worker may have finished it when our claim ran out, or a forget have removed it.
            if batch and batch[0].ledger_id == first.ledger_id:
                await self._apply(user, batch, first.attempts)
        except RetryLater as error:
            self._deps.metrics.add("memostream_extraction_waits_total", reason=reason_of(error))
            delay_s = self._settler.backoff_s(first.attempts, error)
            await self._give_back(first, delay_s, reason_of(error))
        else:
            self._wake.set()

    async def _batch(self, user: UserKey) -> list[HeldRecord]:
        with translated("reading held windows"):
            async with self._deps.engine.connect() as connection:
                held = await read_held(connection, *user, LOOK_AHEAD)
        return held[: batch_size([item.record for item in held], BatchLimits.of(self._deps.buffer))]

    async def _apply(self, user: UserKey, batch: list[HeldRecord], attempts: int) -> None:
        async def release_them(connection: AsyncConnection) -> None:
            # A forget does not wait for held windows, and what it has removed must not be applied behind it.
            if await release(connection, [item.ledger_id for item in batch]) < len(batch):
                raise RetryLater("held records were removed while they were extracted")

        records = [(item.record, item.position) for item in batch]
        await self._settler.apply(user, records, attempts, release_them)
        log.info("holds.applied", project_id=user[0], user_id=user[1], records=len(batch))

    async def _give_back(self, first: HeldRecord, delay_s: float, reason: str) -> None:
        due_at = self._deps.clock.now() + timedelta(seconds=delay_s)
        try:
            with translated("giving a held user back"):
                async with self._deps.engine.begin() as connection:
                    await reschedule(connection, self._deps.worker_name, first.ledger_id, due_at, reason)
        # The claim runs out by itself.
        except RetryLater as error:
            log.warning("holds.not_given_back", reason=str(error))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
