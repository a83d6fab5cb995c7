"""Waiting for rows of the ledger: one LISTEN for all waiters of a process, one look for all that were told of."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import RetryLater
from storage.errors import translated
from storage.ledger import CHANNEL, LedgerRow, read_ledger
from storage.listening import listen

log = structlog.get_logger()

# A notification may be lost with its connection.
POLL_S: Final = 2.0
# Many rows come at once: look once for all of them.
GATHER_S: Final = 0.005
RETRY_S: Final = 0.5


class LedgerWaiter:
    """Hands every waiter the row that it waits for; `run` must be running."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: dict[UUID, set[asyncio.Future[LedgerRow]]] = {}
        self._told: set[UUID] = set()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Listen and look until cancelled; without Postgres it goes on trying."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen(self._engine, CHANNEL, self._notified, self._look_for_all))
            tasks.create_task(self._poll())
            tasks.create_task(self._look())

    async def wait(self, ledger_id: UUID, timeout_s: float) -> LedgerRow | None:
        """The row as soon as it is there; None if that takes longer."""
        future: asyncio.Future[LedgerRow] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(ledger_id, set()).add(future)
        # It may be there already.
        self._notified(str(ledger_id))
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return None
        finally:
            waiters = self._waiting[ledger_id]
            waiters.discard(future)
            if not waiters:
                del self._waiting[ledger_id]

    def _notified(self, payload: str) -> None:
        with suppress(ValueError):
            ledger_id = UUID(payload)
            if ledger_id in self._waiting:
                self._told.add(ledger_id)
                self._news.set()

    def _look_for_all(self) -> None:
        self._told.update(self._waiting)
        self._news.set()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            self._look_for_all()

    async def _look(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER_S)
            self._news.clear()
            wanted, self._told = self._told & self._waiting.keys(), set()
            if not wanted:
                continue
            try:
                await self._hand_out(wanted)
            except RetryLater as error:
                log.warning("storage.ledger_unread", reason=str(error))
                await asyncio.sleep(RETRY_S)
                self._look_for_all()

    async def _hand_out(self, wanted: Collection[UUID]) -> None:
        with translated("reading the ledger"):
            async with self._engine.connect() as connection:
                rows = await read_ledger(connection, wanted)
        for ledger_id, row in rows.items():
            for future in self._waiting.get(ledger_id, ()):
                if not future.done():
                    future.set_result(row)
