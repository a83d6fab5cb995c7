"""Reads the ends of the change topics once for all readers of this process, and keeps the newest changes at hand."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from schemas.errors import MemostreamError, RetryLater
from schemas.settings import KafkaSettings
from streams.change_consumer import ChangeConsumer, change_consumer
from streams.change_cursor import Place, Positions, checked_positions
from streams.recent_changes import RecentChanges

MAX_RECORDS: Final = 500
POLL_MS: Final = 1000
RETRY_S: Final = 1.0

log = structlog.get_logger()


class ChangeTail:
    """Runs until it is closed, through outages of the broker; what ends it before that, its readers are told.

    `news` is set, and replaced by another, whenever there is something to look at.
    """

    def __init__(self, kafka: KafkaSettings, max_bytes: int) -> None:
        self._kafka = kafka
        self._max_bytes = max_bytes
        self._recent: RecentChanges | None = None
        self._consumer: ChangeConsumer | None = None
        self._waiting_for: RetryLater | None = None
        self.news = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    @property
    def recent(self) -> RecentChanges:
        """What is at hand; raises the error that has ended the tail."""
        if self._task.done():
            # Where nothing was raised, it was closed under its readers.
            self._task.result()
            raise RetryLater("the stream of changes has ended; open it again")
        assert self._recent is not None, "a reader waits for the tail first"
        return self._recent

    @property
    def is_running(self) -> bool:
        return not self._task.done()

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Return once no later change can be missed; raises RetryLater after `timeout_s`, or what ended the tail."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._recent is None and not self._task.done():
                    await self.news.wait()
        except TimeoutError as error:
            raise self._waiting_for or RetryLater("Kafka: no answer about the change topics") from error
        _ = self.recent

    async def bounds(self) -> tuple[Positions, Positions]:
        """The first and the next offset of every partition; raises RetryLater while the broker is away."""
        if self._consumer is None:
            raise self._waiting_for or RetryLater("Kafka: no connection yet")
        return await self._consumer.bounds()

    def announce(self) -> None:
        """Wake all readers."""
        self.news.set()
        self.news = asyncio.Event()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            # Readers raise it; there may be none.
            task.exception()
        self.announce()

    async def _run(self) -> None:
        while True:
            try:
                async with change_consumer(self._kafka) as self._consumer:
                    await self._follow(self._consumer)
            except RetryLater as error:
                if str(error) != str(self._waiting_for):
                    log.warning("changes.waiting", reason=str(error))
                self._waiting_for = error
                await asyncio.sleep(RETRY_S)
            except MemostreamError as error:
                log.error("changes.stopped", reason=str(error))
                raise
            finally:
                self._consumer = None

    async def _follow(self, consumer: ChangeConsumer) -> None:
        """Return where a topic has got more partitions."""
        consumer.begin(self._positions(*await consumer.bounds()))
        self._waiting_for = None
        self.announce()
        while not consumer.is_outgrown:
            records, positions = await consumer.fetch(MAX_RECORDS, POLL_MS)
            self.recent.extend(records, positions)
            if records:
                self.announce()

    def _positions(self, first: Mapping[Place, int], end: Mapping[Place, int]) -> Positions:
        if self._recent is None:
            self._recent = RecentChanges(end, self._max_bytes)
        positions = checked_positions(self._recent.positions, first, end)
        self._recent.add_partitions({place: positions[place] for place in first})
        return positions
