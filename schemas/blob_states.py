"""What becomes of a record or a blob, in the words that `memostream audit` and the gateway share."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

# Of a record of `chat-messages`, as the audit counts it.
Outcome = Literal[
    "unread",
    "buffered",
    "extracting",
    "held",
    "applied",
    "parked",
    "erased",
    "duplicate",
    "forwarded",
    "command",
    "null",
    "missing",
]
# Of a blob, whichever of its records counts.
BlobState = Literal["unread", "buffered", "extracting", "held", "parked", "applied", "erased"]

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
MEANINGS: Final[Mapping[Outcome, str]] = {
    "unread": "not yet read by the buffer agent",
    "buffered": "waits for its window to close",
    "extracting": "in a window that is not finished",
    "held": "in a window that waits for an endpoint, or for a budget's next day",
    "applied": "in memory",
    "parked": "in dead-letters, with the reason",
    "erased": "deleted or forgotten",
    "duplicate": "sent twice; the other one counts",
    "forwarded": "was on the wrong partition or redriven; the copy counts",
    "command": "a flush or a forget",
    "null": "no value; ignored",
    "missing": "in no stage at all: lost",
}

_LEAST_FINISHED: Final[tuple[BlobState, ...]] = get_args(BlobState)


def least_finished(states: Iterable[BlobState]) -> BlobState:
    """The state of what consists of several pieces: that of the one that is the least finished."""
    return min(states, key=_LEAST_FINISHED.index)
