"""Whether a shadow has read all that live memory of a user rests on, so that it may take its place. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from schemas.errors import Conflict
from schemas.windows import Position, UnitKey
from storage.shadows import Source, is_in_range
from storage.units import ID_CONFLICT, WHOLE, RecordedUnit, book_of, covers, overlap

LeftReason = Literal["imported", "out-of-range", "missing", "deleted", "other-extractor", "too-large"]


class Later(Conflict):
    """The shadow has not come to something that live memory holds: try again behind a later barrier."""


class Left(Conflict):
    """The user stays as they are; `reason` is a word."""

    def __init__(self, reason: LeftReason) -> None:
        super().__init__(reason)
        self.reason: LeftReason = reason


@dataclass(frozen=True, slots=True)
class Barrier:
    """How far a shadow has come on the topic that it reads: all that lies below `done`, by partition, is in it.

    It reads from `begin` on, up to before `end`; None is without end.
    """

    source: Source
    topic: str
    begin: Mapping[int, int]
    end: Mapping[int, int] | None
    done: Mapping[int, int]

    def reaches(self, place: Position) -> bool:
        """Whether the shadow reads this record at all."""
        return place.topic == self.topic and is_in_range(self.begin, self.end, place.partition, place.offset)

    def is_behind(self, place: Position) -> bool:
        """Whether the shadow has done with this record, which it reads."""
        return place.offset < self.done.get(place.partition, 0)


def check_covered(
    live: Iterable[RecordedUnit],
    shadow: Iterable[RecordedUnit],
    done_windows: Collection[UUID],
    window_places: Mapping[UUID, Position],
    barrier: Barrier,
) -> None:
    """Raise Later or Left unless the shadow has read everything of `live`, the units of the user's live generation.

    `done_windows` are those that the shadow has done, `window_places` where live windows lie on extraction-windows,
    which only a shadow that is made from these needs. A blob that was deleted must be so in the shadow as well.
    """
    book = book_of(shadow)
    is_later = False
    for row in live:
        if row.state == "erased":
            if row.message_index == WHOLE and any(other.state != "erased" for other in book.rightful(row.blob_id)):
                raise Left("deleted")
            continue
        if row.reason == ID_CONFLICT or row.window_id in done_windows:
            continue
        place = _place(row, window_places, barrier)
        same = [other for other in book.rightful(row.blob_id) if _is_same_blob(row, other)]
        if _is_covered(row.key, [other.key for other in same], place, barrier):
            continue
        if place is None:
            raise Left("imported")
        if not barrier.reaches(place):
            raise Left("out-of-range")
        if barrier.is_behind(place):
            raise Left("missing")
        is_later = True
    if is_later:
        raise Later


def _place(row: RecordedUnit, window_places: Mapping[UUID, Position], barrier: Barrier) -> Position | None:
    """Where the shadow reads it; None for what came by an import, whose places are those of another installation."""
    if row.window_id is None:
        return None
    return row.position if barrier.source == "chat-messages" else window_places.get(row.window_id)


def _is_same_blob(row: RecordedUnit, other: RecordedUnit) -> bool:
    """Another blob under the id says nothing of this one."""
    return row.content_hash is None or other.content_hash is None or row.content_hash == other.content_hash


def _is_covered(key: UnitKey, others: Collection[UnitKey], place: Position | None, barrier: Barrier) -> bool:
    if any(covers(other, key) for other in others):
        return True
    if barrier.source == "extraction-windows":
        # A window is extracted as a whole, so if there is one piece of what it held, there are all.
        return any(overlap(other, key) for other in others)
    if place is None or not barrier.reaches(place) or not barrier.is_behind(place):
        return False
    # The whole record is behind the shadow, which may have cut it in other pieces.
    return any(overlap(other, key) or _cut_the_same(other, key) for other in others)


def _cut_the_same(one: UnitKey, other: UnitKey) -> bool:
    """Whether both are parts of one message."""
    return one[1] == other[1] != WHOLE
