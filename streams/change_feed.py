"""The change topics for readers without Kafka: many streams in one process, resumed exactly where they ended."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from schemas.change_feed import EARLIEST, LATEST, ChangeFilter, FeedItem, TooManyReaders
from schemas.errors import RetryLater
from schemas.settings import KafkaSettings
from streams.change_cursor import Positions, checked_positions, covers, parse_cursor
from streams.change_reader import ChangeReader, ForgottenRevisions, Turns
from streams.change_tail import ChangeTail

READY_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """What all streams of one process may take. `kept_bytes` is what a reader may be behind."""

    streams: int = 256
    streams_of_a_project: int = 64
    kept_bytes: int = 32 << 20
    older_readers: int = 8
    turn_s: float = 60.0
    keep_alive_s: float = 15.0
    # Reading the topics for nobody stops after this time.
    linger_s: float = 30.0


class ChangeFeed:
    """One for each process. Connects with the first stream, and leaves the broker alone when the last one has ended."""

    def __init__(
        self,
        kafka: KafkaSettings,
        limits: FeedLimits,
        *,
        forgotten: ForgottenRevisions,
        now_ms: Callable[[], int],
    ) -> None:
        self._kafka = kafka
        self._limits = limits
        self._forgotten = forgotten
        self._now_ms = now_ms
        self._turns = Turns(limits.older_readers, limits.turn_s)
        self._open: Counter[str] = Counter()
        self._stopping = asyncio.Event()
        self._tail: ChangeTail | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def subscribe(
        self, wanted: ChangeFilter, after: str = LATEST, *, follow: bool = True
    ) -> AsyncIterator[AsyncGenerator[FeedItem, None]]:
        """The items of one stream, from `after` on: a cursor, `earliest` or `latest`; without `follow` up to now.

        Delivery is that of the topics: each user's changes in order for each topic, at least once, with stable ids. A
        resumed stream goes on after the item whose cursor it was given. What was committed before its user was
        forgotten is left out. Raises InvalidCursor, PositionGone, TooManyReaders, and RetryLater while the broker is
        away.
        """
        with self._counted(wanted.project_id):
            tail = self._tail_now()
            await tail.wait_until_ready(READY_TIMEOUT_S)
            reader = ChangeReader(
                kafka=self._kafka,
                tail=tail,
                wanted=wanted,
                positions=await _start(tail, after),
                turns=self._turns,
                stopping=self._stopping,
                keep_alive_s=self._limits.keep_alive_s,
                forgotten=self._forgotten,
                now_ms=self._now_ms,
                follow=follow,
            )
            async with aclosing(reader.items()) as items:
                yield items

    @property
    def open_streams(self) -> int:
        return self._open.total()

    def stop(self) -> None:
        """Let every stream end with its position; new ones are refused."""
        self._stopping.set()
        if self._tail is not None:
            self._tail.announce()

    async def close(self) -> None:
        """Leave the broker; streams that are still open end."""
        self.stop()
        self._leave()
        if self._closing:
            await asyncio.wait(self._closing)

    @contextmanager
    def _counted(self, project_id: str) -> Iterator[None]:
        if self._stopping.is_set():
            raise RetryLater("the gateway is stopping")
        if self._open.total() >= self._limits.streams:
            raise TooManyReaders("this gateway has as many change streams open as it may")
        if self._open[project_id] >= self._limits.streams_of_a_project:
            raise TooManyReaders("this project has as many change streams open as it may")
        self._open[project_id] += 1
        try:
            yield
        finally:
            self._open[project_id] -= 1
            # Projects that nobody reads are not to add up.
            self._open += Counter()
            if not self._open:
                self._leaving = asyncio.get_running_loop().call_later(self._limits.linger_s, self._leave)

    def _tail_now(self) -> ChangeTail:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._tail is None or not self._tail.is_running:
            self._tail = ChangeTail(self._kafka, self._limits.kept_bytes)
        return self._tail

    def _leave(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._tail is not None:
            closing = asyncio.create_task(self._tail.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._tail = None


async def _start(tail: ChangeTail, after: str) -> Positions:
    if after == LATEST:
        return dict(tail.recent.positions)
    if after == EARLIEST:
        first, _ = await tail.bounds()
        return first
    asked = parse_cursor(after)
    recent = tail.recent
    at_hand = asked.keys() == recent.positions.keys() and covers(recent.positions, asked)
    if at_hand and covers(asked, recent.floor):
        return asked
    return checked_positions(asked, *await tail.bounds())
