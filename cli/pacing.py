"""No faster than what comes behind: waiting until there is room, and keeping to a rate."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from cli.console import note

POLL_S: Final = 0.5
# What is said once it has waited so long: perhaps no worker runs.
PATIENCE_S: Final = 10.0


async def room(waiting: Callable[[], Awaitable[int]], limit: int, hint: str) -> None:
    """Return once no more than `limit` wait; `hint` follows their number on the terminal where that takes long."""
    loop = asyncio.get_running_loop()
    speaks_at_s = loop.time() + PATIENCE_S
    while (count := await waiting()) > limit:
        if loop.time() > speaks_at_s:
            note(f"{count:,} {hint}")
            speaks_at_s = loop.time() + PATIENCE_S
        await asyncio.sleep(POLL_S)


class Rate:
    """At most so many a second on average, from the first on; None is as fast as it goes."""

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        self._began_s: float | None = None
        self._count = 0

    async def keep(self, count: int) -> None:
        """Count some more, and wait until their time has come."""
        if self._per_s is None:
            return
        loop = asyncio.get_running_loop()
        self._began_s = loop.time() if self._began_s is None else self._began_s
        self._count += count
        await asyncio.sleep(max(0.0, self._began_s + self._count / self._per_s - loop.time()))
