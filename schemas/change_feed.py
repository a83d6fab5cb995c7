"""What a reader of changes asks for and gets, between the feed that reads Kafka and the gateway that speaks HTTP."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from schemas.errors import MemostreamError

ChangeTopic = Literal["profile-updated", "event-updated", "profiles"]
CHANGE_TOPICS: Final[tuple[ChangeTopic, ...]] = get_args(ChangeTopic)
# What a reader gets who names no topic: what changed, and not the whole profile each time.
USUAL_TOPICS: Final[frozenset[ChangeTopic]] = frozenset({"profile-updated", "event-updated"})

# limit: as many changes were sent as were asked for. end: now is reached, and more was not asked for. stopping: the
# gateway stops. too-slow: the reader fell further behind than is kept at hand. turn: others wait to read older changes.
# gone: what comes next is not on its topic any more. revoked: the token holds no more. unavailable: the broker or the
# database is away.
EndReason = Literal["limit", "end", "stopping", "too-slow", "turn", "gone", "revoked", "unavailable"]

# Words that stand for a position.
EARLIEST: Final = "earliest"
LATEST: Final = "latest"


class InvalidCursor(MemostreamError):
    """The text is not one that a stream has given out."""


class PositionGone(MemostreamError):
    """What follows the position was removed from its topic, or the topic was made anew: no stream can go on there."""


class TooManyReaders(MemostreamError):
    """All streams that a gateway or a project may have open are open."""


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which changes of one project to read; no `user_ids` means everybody's."""

    project_id: str
    user_ids: frozenset[str] = frozenset()
    topics: frozenset[ChangeTopic] = USUAL_TOPICS


@dataclass(frozen=True, slots=True)
class Change:
    """One change, as a CloudEvent in JSON; without `data` it is a tombstone. `cursor` goes on after it."""

    topic: ChangeTopic
    document: bytes
    cursor: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Nothing for this reader up to `cursor`; the first one says where the stream begins."""

    cursor: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last item of a stream; a reader goes on from `cursor`."""

    reason: EndReason
    cursor: str


FeedItem = Change | Progress | Ended
