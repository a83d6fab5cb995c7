"""Runs a long command on uvloop until it ends or is told to stop: in order, and within a stated time."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final, NoReturn

import structlog

from cli.console import note

INTERRUPTED: Final = 130
STOP_OVERDUE: Final = 3
# Whoever holds the log's stream may be what hangs.
LAST_WORDS_S: Final = 1.0
# Young objects that are there before the garbage collector looks for cycles among them; Python's default is 700.
COLLECT_EVERY: Final = 50_000

log = structlog.get_logger()


@dataclass(frozen=True)
class StopLimit:
    """How long stopping may take, and what of the process `is_left` while it does."""

    limit_s: float
    is_left: Callable[[], Sequence[str]]


def run_until_stopped(work: Callable[[asyncio.Event], Awaitable[int]], limit: StopLimit | None = None) -> int:
    """Run `work` with an event that the first Ctrl-C or SIGTERM sets; the second one does not wait for the end.

    With a limit, the process ends by it once the event is set, whoever set it and whatever hangs; then a second signal
    ends the process at once. Without one, a second signal cancels the work.
    """
    collect_less_often()
    stopping = _Stopping(limit)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stopping.on_signal)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(stopping.watched(work))
        except asyncio.CancelledError:
            return INTERRUPTED


def collect_less_often() -> None:
    """Leave modules out of garbage collection, and look at the rest less often.

    A record makes hundreds of objects and hardly ever a cycle, and what is buffered is looked through again and again.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 20)


@dataclass
class _Stopping:
    """Signals are Python's own, not the loop's: they are to work while the loop hangs."""

    limit: StopLimit | None
    event: asyncio.Event = field(default_factory=asyncio.Event)
    is_asked: bool = False
    loop: asyncio.AbstractEventLoop | None = None
    task: "asyncio.Future[int] | None" = None
    timer: threading.Timer | None = None

    async def watched(self, work: Callable[[asyncio.Event], Awaitable[int]]) -> int:
        self.loop = asyncio.get_running_loop()
        if self.is_asked:
            self.event.set()
        self.task = asyncio.ensure_future(work(self.event))
        watch = asyncio.create_task(self._watch())
        try:
            return await self.task
        finally:
            watch.cancel()

    def on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if not self.is_asked:
            self.is_asked = True
            # Whom a supervisor stops has nobody to read this, and a log of JSON lines has no place for it.
            if sys.stderr.isatty():
                note("stopping; once more to stop at once")
            self._begin()
            self._on_loop(self.event.set)
        elif self.limit is None:
            self._on_loop(self._cancel)
        else:
            left = list(self.limit.is_left())
            _end(INTERRUPTED, lambda: log.warning("process.stopped_at_once", left=left))

    async def _watch(self) -> None:
        await self.event.wait()
        self._begin()

    def _begin(self) -> None:
        """From here on the time is counted; a thread does so, which also outlives the loop."""
        if self.limit is not None and self.timer is None:
            self.timer = threading.Timer(self.limit.limit_s, self._overdue, [self.limit])
            self.timer.daemon = True
            self.timer.start()

    def _overdue(self, limit: StopLimit) -> None:
        left = list(limit.is_left())
        _end(STOP_OVERDUE, lambda: log.error("process.stop_overdue", limit_s=limit.limit_s, left=left))

    def _on_loop(self, action: Callable[[], object]) -> None:
        if self.loop is not None:
            # Closed, where only threads are left.
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(action)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


def _end(code: int, last_words: Callable[[], object]) -> NoReturn:
    """End the process, whatever its threads are at."""
    speaker = threading.Thread(target=last_words, daemon=True)
    speaker.start()
    speaker.join(LAST_WORDS_S)
    os._exit(code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
