"""Whether a part works, asked at probes' pace: above all, whether Postgres answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.errors import CONNECTION_ERRORS, describe

# However often it is probed, a process asks broker and database no more often than this, and waits no longer.
KEEP_S: Final = 5.0
TIMEOUT_S: Final = 2.0

# What keeps a part from its work now; nothing if it works.
Reasons = Callable[[], Awaitable[Sequence[str]]]


class Remembered:
    """Asks a part by one probe at a time, and remembers the answer for a while, however often probes come."""

    def __init__(self, ask: Reasons, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._reasons: Sequence[str] = ()

    async def reasons(self) -> Sequence[str]:
        async with self._asking:
            if self._monotonic() - self._asked_at >= KEEP_S:
                self._reasons = await self._ask()
                self._asked_at = self._monotonic()
            return self._reasons


def watch_database(engine: AsyncEngine) -> Reasons:
    """Whether Postgres answers."""

    async def ask() -> Sequence[str]:
        try:
            async with asyncio.timeout(TIMEOUT_S), engine.connect() as connection:
                await connection.execute(select(1))
        except CONNECTION_ERRORS as error:
            return (f"Postgres does not answer ({describe(error)})",)
        return ()

    return Remembered(ask).reasons
