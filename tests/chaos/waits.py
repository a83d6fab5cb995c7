"""What the tasks of a worker that stands still wait for, down to the innermost await, in its log."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any


def print_waits(*_: object) -> None:
    """For every task of this process; a handler of a signal."""
    for task in asyncio.all_tasks(asyncio.get_running_loop()):
        sys.stderr.write("\n    ".join([f"task {task.get_name()}", *_awaits(task.get_coro())]) + "\n")
    sys.stderr.flush()


def _awaits(awaited: Any) -> Iterator[str]:
    while awaited is not None:
        # Of a coroutine, a generator, and an asynchronous generator.
        frame, inner = next(
            (
                (getattr(awaited, f"{kind}_frame"), getattr(awaited, name))
                for kind, name in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await"))
                if hasattr(awaited, name)
            ),
            (None, None),
        )
        if frame is None:
            # The text of a future may hold a result.
            yield type(awaited).__name__
        else:
            yield f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
        awaited = inner
