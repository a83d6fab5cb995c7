"""How far a shadow has come on the topic that it reads: asked of Kafka and of its row, and waited for."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from cli.pacing import room
from cli.scanning import TopicScanner
from cli.shadows import Offsets, unread
from schemas.errors import NotFound
from schemas.settings import KafkaSettings
from storage.errors import translated
from storage.promotion_coverage import Barrier
from storage.shadows import Shadow, close_tails, read_shadow
from storage.text import epoch_ms
from streams.clients import admin
from streams.inspection import read_groups
from streams.shadow_running import topics_of

HINT: Final = "does a worker of the shadow run?"


@dataclass(frozen=True, slots=True)
class ShadowProgress:
    """Where a shadow stands: how many records it has not done, and whether anybody works for it.

    The `barrier` lies at the end of the topic where none is left, and else before everything.
    """

    barrier: Barrier
    behind: int
    is_worked_for: bool


class ShadowReader:
    """Looks at what a shadow's groups have done, and waits until they have done enough."""

    def __init__(self, shadow: Shadow, kafka: KafkaSettings, scanner: TopicScanner, engine: AsyncEngine) -> None:
        self._shadow = shadow
        self._kafka = kafka
        self._scanner = scanner
        self._engine = engine
        self._topics = topics_of(shadow)
        self._source, self._group = self._topics.source, self._topics.groups[0]
        self._is_buffered = shadow.source == "chat-messages"

    async def look(self) -> ShadowProgress:
        """Where it stands. Raises RetryLater if the broker is away."""
        ends = await self._ends()
        behind = await self._behind_source(ends)
        if self._is_buffered:
            behind += await self._behind_windows(await self._scanner.written(self._topics.extraction_windows))
        async with admin(self._kafka) as client:
            groups = await read_groups(client, self._topics.groups)
        return ShadowProgress(self._barrier({} if behind else ends), behind, any(groups.values()))

    async def wait(self) -> Barrier:
        """Have it do everything up to the end of the topic, as that is when this is called, also what it has buffered.

        Raises NotFound where it is discarded meanwhile, and RetryLater if broker or database are away.
        """
        ends = await self._ends()
        await room(lambda: self._behind_source(ends), 0, f"records of {self._source} wait for the shadow; {HINT}")
        if self._is_buffered:
            await self._empty_buffers()
            windows = self._topics.extraction_windows
            # Whatever lies there now holds all that came before.
            window_ends = await self._scanner.written(windows)
            await room(lambda: self._behind_windows(window_ends), 0, f"windows of the shadow wait; {HINT}")
        return self._barrier(ends)

    async def _ends(self) -> dict[int, int]:
        """The end of what there is to read, by partition."""
        written, last = await self._scanner.written(self._source), self._shadow.end_offsets
        return {
            partition: end if last is None else min(end, last.get(partition, 0))
            for partition, end in written.items()
            if partition in self._shadow.begin_offsets
        }

    async def _behind_source(self, ends: Offsets) -> int:
        committed = await self._scanner.committed(self._group, self._source)
        first, _ = await self._scanner.bounds(self._source)
        shadow = self._shadow
        left = unread(shadow.begin_offsets, shadow.end_offsets, first, ends, committed)
        return await self._scanner.count(self._source, *left)

    async def _behind_windows(self, ends: Offsets) -> int:
        return await self._scanner.behind(self._topics.extraction_group, self._topics.extraction_windows, ends)

    async def _empty_buffers(self) -> None:
        """Wait until whatever is buffered, and was recorded before now, has become windows."""
        before = datetime.now(UTC)
        with translated("promoting a shadow"):
            async with self._engine.begin() as connection:
                await close_tails(connection, self._shadow.generation, before)

        async def waiting() -> int:
            with translated("looking at a shadow"):
                async with self._engine.connect() as connection:
                    found = await read_shadow(connection, self._shadow.topic_prefix, self._shadow.name)
            if found is None or found.generation != self._shadow.generation:
                raise NotFound(f"shadow {self._shadow.name} was discarded meanwhile")
            closed = found.tails_closed
            return sum(closed.get(number, 0) < epoch_ms(before) for number in self._shadow.begin_offsets)

        await room(waiting, 0, f"partitions of the shadow have messages that are not in a window yet; {HINT}")

    def _barrier(self, done: Offsets) -> Barrier:
        shadow = self._shadow
        return Barrier(shadow.source, self._source, shadow.begin_offsets, shadow.end_offsets, done)
