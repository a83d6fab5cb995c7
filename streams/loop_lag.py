"""How long the event loop did not turn: measured by a task that sleeps and looks how late it wakes."""

import asyncio
from typing import Final

from schemas.metrics import Metrics

TICK_S: Final = 0.25
# The largest lag is remembered for one to two of these.
KEEP_S: Final = 30.0


class LoopLag:
    """The longest stall of about the last minute, so that a scrape between two others misses none."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._before_s = 0.0
        self._largest_s = 0.0
        self._began_at_s = 0.0

    def seen(self, lag_s: float, now_s: float) -> None:
        """Take note of one wake-up that came `lag_s` late."""
        if now_s - self._began_at_s >= KEEP_S:
            self._before_s, self._largest_s, self._began_at_s = self._largest_s, 0.0, now_s
        self._largest_s = max(self._largest_s, lag_s)

    @property
    def largest_s(self) -> float:
        return max(self._before_s, self._largest_s)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        self._began_at_s = loop.time()
        while True:
            due_s = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            now_s = loop.time()
            self.seen(max(0.0, now_s - due_s), now_s)

    async def show(self) -> None:
        """For a scrape."""
        self._metrics.replace("memostream_event_loop_lag_seconds", {(): self.largest_s})
