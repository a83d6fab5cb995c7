"""Keeping to a rate."""

import asyncio


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
