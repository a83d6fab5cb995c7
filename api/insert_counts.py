"""Counts calls that insert, in memory, and adds them to Postgres every few seconds."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from typing import Final

import structlog

from schemas.errors import MemostreamError
from storage.project_usage import Inserts

log = structlog.get_logger()

EVERY_S: Final = 2.0

# Adds to the counts of a project and day; raises RetryLater when Postgres is away.
AddInserts = Callable[[Mapping[tuple[str, date], Inserts]], Awaitable[None]]


class InsertCounter:
    """What was counted and not added yet is lost when the process is killed, and kept when Postgres is away."""

    def __init__(self, add: AddInserts, now: Callable[[], datetime]) -> None:
        self._add = add
        self._now = now
        self._calls: Counter[tuple[str, date]] = Counter()
        self._stored: Counter[tuple[str, date]] = Counter()

    def count(self, project_id: str, *, stored: bool) -> None:
        """Count one call; `stored` if it was answered with an id."""
        key = (project_id, self._now().astimezone(UTC).date())
        self._calls[key] += 1
        self._stored[key] += stored

    async def run(self) -> None:
        """Add what was counted until cancelled; call `flush` afterwards."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Add what was counted by now; it stays where Postgres is away."""
        calls, self._calls = self._calls, Counter()
        stored, self._stored = self._stored, Counter()
        if not calls:
            return
        try:
            await self._add({key: Inserts(number, stored[key]) for key, number in calls.items()})
        except MemostreamError as error:
            self._put_back(calls, stored)
            log.warning("inserts.counting_put_off", reason=str(error))
        except asyncio.CancelledError:
            # Whoever stops the gateway flushes once more.
            self._put_back(calls, stored)
            raise

    def _put_back(self, calls: Counter[tuple[str, date]], stored: Counter[tuple[str, date]]) -> None:
        self._calls += calls
        self._stored += stored
