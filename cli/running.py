"""Runs a long command on uvloop until it ends or is told to stop, in order."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from cli.console import note

INTERRUPTED = 130


# Young objects that are there before the garbage collector looks for cycles among them; Python's default is 700.
COLLECT_EVERY: Final = 50_000


def run_until_stopped(work: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run `work` with an event that the first Ctrl-C or SIGTERM sets; the second one does not wait for the end."""
    collect_less_often()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(_watched(work))
        except asyncio.CancelledError:
            return INTERRUPTED


def collect_less_often() -> None:
    """Leave modules out of garbage collection, and look at the rest less often.

    A record makes hundreds of objects and hardly ever a cycle, and what is buffered is looked through again and again.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 20)


async def _watched(work: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    task = asyncio.ensure_future(work(stop))

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
            return
        # Whom a supervisor stops has nobody to read this, and a log of JSON lines has no place for it.
        if sys.stderr.isatty():
            note("stopping; once more to stop at once")
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return await task


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
