"""How many attempts run side by side: at the model, and with the database before and after that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool


class Slot:
    """The place of one attempt: among those that read, at the model, or among those that write."""

    def __init__(self, reading: asyncio.Semaphore, asking: asyncio.Semaphore, writing: asyncio.Semaphore) -> None:
        self._places = (reading, asking, writing)
        self._held: int | None = None

    async def read(self) -> None:
        """Wait for a place to read."""
        await self._go_to(0)

    async def ask(self) -> None:
        """Wait for a place at the model."""
        await self._go_to(1)

    async def write(self) -> None:
        """Wait for a place to write, and let the next one ask.

        Where Postgres is slow, answers wait here with their place at the model: no more calls are paid for that might
        have to be made again.
        """
        await self._go_to(2)

    def leave(self) -> None:
        """Give the place up; does nothing without one."""
        if self._held is not None:
            self._places[self._held].release()
            self._held = None

    async def _go_to(self, place: int) -> None:
        if place == self._held:
            return
        # Who goes back waits for nobody with a place that others wait for: those go forward only.
        if self._held is not None and place < self._held:
            self.leave()
        await self._places[place].acquire()
        self.leave()
        self._held = place


class Slots:
    """`at_model` attempts ask a model, while `readers` and `writers` are before and after it.

    Few of these finish one after the other; if all began at once, they would end at once, and none early.
    """

    def __init__(self, at_model: int, readers: int, writers: int) -> None:
        self._reading = asyncio.Semaphore(readers)
        self._asking = asyncio.Semaphore(at_model)
        self._writing = asyncio.Semaphore(writers)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Slot]:
        """A slot with a place to read, which is left at the end wherever it is then."""
        slot = Slot(self._reading, self._asking, self._writing)
        try:
            await slot.read()
            yield slot
        finally:
            slot.leave()


def share_of_pool(engine: AsyncEngine, part: float) -> int:
    """So many of an engine's connections, 1 at least.

    More than the pool keeps are opened for each use and closed after it, and the relay would wait behind them.
    """
    pool = engine.pool
    return max(1, int(part * pool.size())) if isinstance(pool, QueuePool) else 1
