"""How fast and how wide one endpoint is called: a pure bucket for each limit, and the gate that all calls pass."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from schemas.errors import RetryLater

# So much of a minute's budget may be spent at once; the rest comes evenly, so that no minute sees more than all of it.
BURST: Final = 0.1
# Who is asked to wait longer than this by the endpoint gives the call back, so that the runtime can do other work.
MAX_PAUSE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """A budget a minute, of requests or tokens: `level` is what could be spent at `at_s`, below 0 what is owed.

    What is larger than the bucket is let through when it is full, and owed afterwards.
    """

    per_minute: int
    level: float
    at_s: float

    @classmethod
    def full(cls, per_minute: int, now_s: float) -> "Bucket":
        return cls(per_minute, _capacity(per_minute), now_s)

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until `amount` may be taken."""
        missing = min(amount, _capacity(self.per_minute)) - self.level_at(now_s)
        return max(0.0, missing / _rate_s(self.per_minute))

    def take(self, amount: float, now_s: float) -> "Bucket":
        """Spend it, whatever the level; a negative amount gives back."""
        level = min(self.level_at(now_s) - amount, _capacity(self.per_minute))
        return replace(self, level=level, at_s=max(now_s, self.at_s))

    def level_at(self, now_s: float) -> float:
        gained = max(0.0, now_s - self.at_s) * _rate_s(self.per_minute)
        return min(self.level + gained, _capacity(self.per_minute))


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one endpoint; None is no limit."""

    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(slots=True)
class Charge:
    """What a call costs: an estimate before it, the endpoint's own count behind it."""

    tokens: int


class Gate:
    """All calls of a worker to one endpoint, first come, first served.

    A user has one window in extraction at a time, so calls in their order are fair to users, too. Waiting here is no
    failure: it takes a place among the windows in flight, so that the rest waits in Kafka.
    """

    def __init__(
        self,
        limits: Limits = Limits(),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        now_s = monotonic()
        self._requests = _bucket(limits.requests_per_minute, now_s)
        self._tokens = _bucket(limits.tokens_per_minute, now_s)
        self._running = asyncio.Semaphore(limits.concurrency) if limits.concurrency is not None else None
        # asyncio's lock wakes its waiters in their order, and forgets those that are cancelled.
        self._turn = asyncio.Lock()
        self._paused_until_s = 0.0

    @asynccontextmanager
    async def passed(self, tokens: int) -> AsyncIterator[Charge]:
        """Wait for this call's turn; set the charge's `tokens` inside, once they are known.

        Raises RetryLater where the endpoint has asked everybody to wait for long.
        """
        charge = Charge(tokens)
        await self._enter(tokens)
        try:
            yield charge
        finally:
            if self._tokens is not None:
                self._tokens = self._tokens.take(charge.tokens - tokens, self._monotonic())
            if self._running is not None:
                self._running.release()

    def pause(self, seconds: float) -> None:
        """Let no call begin for so long."""
        self._paused_until_s = max(self._paused_until_s, self._monotonic() + seconds)

    async def _enter(self, tokens: int) -> None:
        async with self._turn:
            self._raise_if_paused()
            if self._running is not None:
                await self._running.acquire()
            try:
                while (wait_s := self._wait_s(tokens)) > 0:
                    self._raise_if_paused()
                    await self._sleep(wait_s)
            except BaseException:
                if self._running is not None:
                    self._running.release()
                raise
            now_s = self._monotonic()
            if self._requests is not None:
                self._requests = self._requests.take(1, now_s)
            if self._tokens is not None:
                self._tokens = self._tokens.take(tokens, now_s)

    def _wait_s(self, tokens: int) -> float:
        now_s = self._monotonic()
        return max(_waits(self._requests, 1, now_s), _waits(self._tokens, tokens, now_s), self._paused_until_s - now_s)

    def _raise_if_paused(self) -> None:
        left_s = self._paused_until_s - self._monotonic()
        if left_s > MAX_PAUSE_S:
            raise RetryLater("the endpoint asked all callers to wait", left_s)


def _capacity(per_minute: int) -> float:
    return max(1.0, per_minute * BURST)


def _rate_s(per_minute: int) -> float:
    return per_minute * (1.0 - BURST) / 60.0


def _bucket(per_minute: int | None, now_s: float) -> Bucket | None:
    return None if per_minute is None else Bucket.full(per_minute, now_s)


def _waits(bucket: Bucket | None, amount: float, now_s: float) -> float:
    return 0.0 if bucket is None else bucket.wait_s(amount, now_s)
