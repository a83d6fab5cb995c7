"""Spans of an extraction attempt and of the transaction that applies it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import islice

from schemas.memory import MemoryUpdate
from schemas.tracing import MAX_LINKS, MESSAGE_COUNT, Span, Tracer, consuming
from schemas.windows import Position, Window


def attempt_span(
    tracer: Tracer, windows: Sequence[tuple[Window, Position]], attempts: int
) -> AbstractContextManager[Span]:
    """Linked to the messages of the windows, which are one user's and so of one partition."""
    _, position = windows[0]
    return tracer.span(
        "consumer",
        f"process {position.topic}",
        {
            **consuming(position.topic, position.partition),
            MESSAGE_COUNT: len(windows),
            "memostream.window_ids": [str(window.window_id) for window, _ in islice(windows, MAX_LINKS)],
            "memostream.units": sum(len(window.units) for window, _ in windows),
            "memostream.attempts": attempts,
        },
        (unit.trace for window, _ in windows for unit in window.units if unit.trace),
    )


def transaction_span(tracer: Tracer, update: MemoryUpdate) -> AbstractContextManager[Span]:
    """Around the transaction that applies windows."""
    return tracer.span(
        "client",
        "postgresql transaction",
        {"db.system.name": "postgresql", "memostream.changes": len(update.changes)},
    )
