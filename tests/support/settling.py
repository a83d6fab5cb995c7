"""A settler on a real database and a clock of the test's."""

import asyncio
from typing import Any, Generic, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.dependencies import Clock, ExtractionDeps
from agents.holds import HoldTimer
from agents.settling import Settler
from extraction.protocol import Extractor
from schemas.profile_schema import ProfilePolicy
from schemas.settings import BufferSettings, ExtractionSettings, WorkerSettings
from schemas.windows import Window, WindowCommand
from storage.reading import read_profile
from storage.tables import held_windows, units
from tests.support.extracting import window_position

AnExtractor = TypeVar("AnExtractor", bound=Extractor)


class Bench(Generic[AnExtractor]):
    """A settler on a clock of the test's: a sleep returns at once and moves the time on."""

    def __init__(
        self, engine: AsyncEngine, extractor: AnExtractor, policy: ProfilePolicy | None = None, **settings: Any
    ) -> None:
        self.engine = engine
        self.extractor = extractor
        self.time_s = 0.0
        self.slept: list[float] = []
        self.errors: list[BaseException] = []

        async def policy_of_project(_: str) -> ProfilePolicy:
            return policy or ProfilePolicy()

        self.deps = ExtractionDeps(
            engine=engine,
            extractor=extractor,
            extraction=ExtractionSettings(**settings),
            buffer=BufferSettings(),
            worker=WorkerSettings(),
            fatal=self.errors.append,
            clock=Clock(monotonic=lambda: self.time_s, sleep=self._sleep, jitter=lambda: 0.0),
            hold_poll_s=0.01,
            policy_of_project=policy_of_project,
        )
        self.settler = Settler(self.deps)
        self.next_offset = 0
        self.full = asyncio.Event()

    async def _sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.time_s += delay_s

    async def settle(self, *records: Window | WindowCommand) -> bool:
        placed = []
        for record in records:
            placed.append((record, window_position(self.next_offset)))
            self.next_offset += 1
        user = (records[0].project_id, records[0].user_id)
        return await self.settler.settle(user, placed, lambda: True, self.full)

    async def memos(self, user_id: str = "u1") -> dict[str, str]:
        async with self.engine.connect() as connection:
            profile = await read_profile(connection, "default", user_id)
        return {slot.sub_topic: slot.content for slot in profile.slots}

    async def rows(self, table: Any, *columns: str, order: str) -> list[tuple[Any, ...]]:
        query = select(*(table.c[name] for name in columns)).order_by(table.c[order])
        async with self.engine.connect() as connection:
            return [tuple(row) for row in (await connection.execute(query)).all()]

    async def unit_states(self) -> list[tuple[Any, ...]]:
        found = await self.rows(units, "blob_id", "message_index", "state", "reason", order="blob_id")
        return sorted(found, key=lambda row: (row[0], row[1]))

    async def drained(self) -> None:
        """Run the hold timer until nothing is held."""
        timer = HoldTimer(self.deps, self.settler, self.errors.append)
        running = asyncio.create_task(timer.run())
        async with asyncio.timeout(30):
            while await self.rows(held_windows, "ledger_id", order="number"):
                assert not self.errors
                await asyncio.sleep(0.01)
        await timer.stop(5.0)
        await running
