"""How much waits in the buffers of this worker's partitions, added up when it is asked for."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from schemas.metrics import Metrics
from storage.probing import Remembered
from streams.windowing import Head

# So many heads take a few milliseconds, for which the loop does nothing else.
HEADS_AT_ONCE: Final = 5_000


class BufferDepth:
    """The heads are counted from time to time, not with each message, whose cost so stays what it is."""

    def __init__(
        self, heads: Callable[[], Iterable[Head]], metrics: Metrics, now_s: Callable[[], float] = time.time
    ) -> None:
        self._heads = heads
        self._metrics = metrics
        self._now_s = now_s
        self._remembered = Remembered(self._count)

    async def show(self) -> None:
        """For a page of metrics."""
        await self._remembered.reasons()

    async def _count(self) -> Sequence[str]:
        heads = list(self._heads())
        blobs = tokens = size_bytes = 0
        oldest_ms = float("inf")
        for begin in range(0, len(heads), HEADS_AT_ONCE):
            for head in heads[begin : begin + HEADS_AT_ONCE]:
                blobs += head.count
                tokens += head.tokens
                size_bytes += head.size_bytes
                oldest_ms = min(oldest_ms, head.first_recorded_ms)
            await asyncio.sleep(0)
        age_s = max(0.0, self._now_s() - oldest_ms / 1000) if heads else 0.0
        self._metrics.replace("memostream_buffer_blobs", {(): blobs})
        self._metrics.replace("memostream_buffer_tokens", {(): tokens})
        self._metrics.replace("memostream_buffer_bytes", {(): size_bytes})
        self._metrics.replace("memostream_buffer_users", {(): len(heads)})
        self._metrics.replace("memostream_buffer_oldest_age_seconds", {(): age_s})
        return ()
