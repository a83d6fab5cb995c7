"""One reader of changes: older ones from the topics at its own pace, then those at hand that all readers share."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from schemas.change_feed import Change, ChangeFilter, Ended, EndReason, FeedItem, PositionGone, Progress
from schemas.errors import RetryLater
from schemas.settings import KafkaSettings
from streams.change_consumer import change_consumer
from streams.change_cursor import Positions, checked_positions, covers, format_cursor, merge_into
from streams.change_records import ChangeRecord, wants
from streams.change_tail import ChangeTail

# A reader that was there before a change gets it at once; later, its user may have been forgotten meanwhile.
FRESH_MS: Final = 5_000
OLDER_RECORDS: Final = 100
# Short, for what is there comes at once; a wait is for what only transactions' marks are left of.
POLL_MS: Final = 100
# How many changes at hand are looked at in one go, while others wait.
LOOK_RECORDS: Final = 100
TURN_POLL_S: Final = 0.5

User = tuple[str, str]
# The last revision before they were forgotten, of those of these users who were.
ForgottenRevisions = Callable[[Collection[User]], Awaitable[Mapping[User, int]]]


class Turns:
    """Lets a few readers at a time read older changes; while others wait, a turn ends after `turn_s`."""

    def __init__(self, places: int, turn_s: float) -> None:
        self.turn_s = turn_s
        self.waiting = 0
        self._places = asyncio.Semaphore(places)

    async def took(self, timeout_s: float) -> bool:
        """Whether it was the caller's turn in this time; then it has to be given back."""
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._places.acquire()
        except TimeoutError:
            return False
        finally:
            self.waiting -= 1
        return True

    def give_back(self) -> None:
        self._places.release()


@dataclass
class ChangeReader:
    """`positions` moves on with what the reader has been given, or has no interest in."""

    kafka: KafkaSettings
    tail: ChangeTail
    wanted: ChangeFilter
    positions: Positions
    turns: Turns
    stopping: asyncio.Event
    keep_alive_s: float
    forgotten: ForgottenRevisions
    now_ms: Callable[[], int]
    follow: bool
    # Changes at hand with lower numbers were there before this reader.
    _came_at: int = field(init=False)
    _spoke_at_s: float = field(default=0.0, init=False)
    _forgotten_revisions: Mapping[User, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._came_at = self.tail.recent.next

    async def items(self) -> AsyncGenerator[FeedItem, None]:
        """Where the stream begins, then changes, with progress in between when there are none; at last why it ended."""
        yield self._progress()
        try:
            for part in (self._older, self._at_hand):
                async with aclosing(part()) as items:
                    async for item in items:
                        yield item
                        if isinstance(item, Ended):
                            return
        except PositionGone:
            yield self._ended("gone")
        except RetryLater:
            yield self._ended("unavailable")

    async def _older(self) -> AsyncGenerator[FeedItem, None]:
        """Read from the topics what is not at hand; nothing where all of it is."""
        if self._is_covered():
            return
        while not await self.turns.took(TURN_POLL_S):
            if self.stopping.is_set():
                yield self._ended("stopping")
                return
            if self._is_quiet():
                yield self._progress()
        turn_ends_at = _monotonic_s() + self.turns.turn_s
        # The turn is over before the reader is told why: it may take its time.
        try:
            async with aclosing(self._turn(turn_ends_at)) as items:
                async for item in items:
                    yield item
        finally:
            self.turns.give_back()
        if self.stopping.is_set():
            yield self._ended("stopping")
        elif not self._is_covered():
            yield self._ended("turn")

    async def _turn(self, ends_at: float) -> AsyncGenerator[FeedItem, None]:
        async with change_consumer(self.kafka) as consumer:
            self.positions = checked_positions(self.positions, *await consumer.bounds())
            consumer.begin(self.positions)
            while not self._is_covered() and not self.stopping.is_set():
                if self.turns.waiting and _monotonic_s() > ends_at:
                    return
                records, positions = await consumer.fetch(OLDER_RECORDS, POLL_MS)
                await self._look_up(records, None)
                for record in records:
                    if (change := self._passed(record)) is not None:
                        yield change
                merge_into(self.positions, positions)
                if self._is_quiet():
                    yield self._progress()

    async def _at_hand(self) -> AsyncGenerator[FeedItem, None]:
        """Go through what the tail keeps, and wait for more; ends where what comes next has been dropped."""
        number = self.tail.recent.first
        while not self.stopping.is_set():
            # Taken before the look, so that nothing comes in between unseen.
            news, recent = self.tail.news, self.tail.recent
            for place in recent.floor.keys() - self.positions.keys():
                # Added since; all that it holds is new.
                self.positions[place] = 0
            if number < recent.first:
                if not self._is_covered():
                    yield self._ended("too-slow")
                    return
                number = recent.first
            if number == recent.next:
                merge_into(self.positions, recent.positions)
                if not self.follow:
                    yield self._ended("end")
                    return
                await self._wait_for(news)
            else:
                last = min(recent.next, number + LOOK_RECORDS)
                before_ms = None if number < self._came_at else self.now_ms() - FRESH_MS
                await self._look_up([recent[each] for each in range(number, last)], before_ms)
                # While a change is sent, the oldest may be dropped.
                while recent.first <= number < last:
                    change = self._passed(recent[number])
                    number += 1
                    if change is not None:
                        yield change
            if self._is_quiet():
                yield self._progress()
        yield self._ended("stopping")

    def _is_covered(self) -> bool:
        return covers(self.positions, self.tail.recent.floor)

    async def _look_up(self, records: Iterable[ChangeRecord], before_ms: int | None) -> None:
        """Learn which users have been forgotten, of those whose changes were committed before; None is any time."""
        users = {
            (record.project_id, record.user_id)
            for record in records
            if record.revision is not None
            and (before_ms is None or record.committed_ms < before_ms)
            and wants(self.wanted, record)
        }
        self._forgotten_revisions = await self.forgotten(users) if users else {}

    def _passed(self, record: ChangeRecord) -> Change | None:
        """The record as the reader gets it; None if it has had it, does not want it, or its user was forgotten."""
        if record.offset < self.positions.get(record.place, 0):
            return None
        self.positions[record.place] = record.offset + 1
        if not wants(self.wanted, record) or self._is_forgotten(record):
            return None
        self._spoke_at_s = _monotonic_s()
        return Change(record.place[0], record.document(), format_cursor(self.positions))

    def _is_forgotten(self, record: ChangeRecord) -> bool:
        last = self._forgotten_revisions.get((record.project_id, record.user_id))
        return last is not None and record.revision is not None and record.revision <= last

    async def _wait_for(self, news: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._spoke_at_s + self.keep_alive_s - _monotonic_s())):
                await news.wait()

    def _is_quiet(self) -> bool:
        return _monotonic_s() >= self._spoke_at_s + self.keep_alive_s

    def _progress(self) -> Progress:
        self._spoke_at_s = _monotonic_s()
        return Progress(format_cursor(self.positions))

    def _ended(self, reason: EndReason) -> Ended:
        return Ended(reason, format_cursor(self.positions))


def _monotonic_s() -> float:
    return asyncio.get_running_loop().time()
