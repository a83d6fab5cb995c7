"""Blobs that are looked for on their topic, and what was found of them."""

from dataclasses import dataclass
from typing import Literal

from schemas.windows import Position, Unit

# removed: the topic begins later, or has a gap there. replaced: another record lies there, or the topic ends before;
# it was made anew. unanswered: the broker is away or too slow, so nobody knows.
Absence = Literal["removed", "replaced", "no-topic", "unanswered"]


@dataclass(frozen=True, slots=True)
class SoughtBlob:
    """A blob as its units name it. `positions` are where its record may lie, the likeliest first."""

    project_id: str
    user_id: str
    blob_id: str
    content_hash: str
    positions: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class FoundBlob:
    """The whole blob as a unit, whose position is where it was found; or else why it was not."""

    unit: Unit | None
    absence: Absence | None = None


def likely_positions(position: Position, origin: Position | None) -> tuple[Position, ...]:
    """Where the record of a unit may lie: a forwarded one lies twice on the topic.

    An ingested one's origin is in other people's shape.
    """
    return (position,) if origin is None or origin.topic != position.topic else (position, origin)
