"""What is recorded of blobs and their pieces, and what that makes of a unit that arrives: pure decisions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from schemas.windows import Position, Unit, UnitKey

UnitState = Literal["applied", "parked", "erased"]
UnitOutcome = Literal["new", "applied", "parked", "erased", "conflict"]

ID_CONFLICT: Final = "id-conflict"
WHOLE: Final = -1


@dataclass(frozen=True, slots=True)
class RecordedUnit:
    """A row of `units`. `message_index` and `part` are -1 where the unit is not split that far."""

    project_id: str
    user_id: str
    blob_id: str
    message_index: int
    part: int
    state: UnitState
    reason: str | None
    content_hash: str | None
    window_id: UUID | None
    position: Position | None
    origin: Position | None
    recorded_at: datetime

    @property
    def key(self) -> UnitKey:
        return (self.blob_id, self.message_index, self.part)


@dataclass(frozen=True, slots=True)
class ForgetCutOff:
    """Which records a forget covers: below an end offset, and not later than the forget.

    Of a topic that nobody read when the user was forgotten, as a source that is added later, only the time is asked.
    """

    forgotten_at: datetime
    offsets: Mapping[tuple[str, int], int]

    def covers(self, position: Position) -> bool:
        """Both are asked: the offset spares what was sent after, the time what a recreated topic holds."""
        if position.timestamp_ms > int(self.forgotten_at.timestamp() * 1000):
            return False
        if all(topic != position.topic for topic, _ in self.offsets):
            return True
        return position.offset < self.offsets.get((position.topic, position.partition), 0)


@dataclass(frozen=True, slots=True)
class UnitBook:
    """The recorded units of some blobs of one user, and the user's last forget."""

    recorded: Mapping[str, tuple[RecordedUnit, ...]] = field(default_factory=dict)
    cut_off: ForgetCutOff | None = None

    def outcome(self, unit: Unit) -> UnitOutcome:
        """What has become of this unit already.

        A unit that is coarser than what is recorded counts as its recorded pieces: `parked` while one of them
        is (`pieces` says which), else `applied`. `conflict` is another blob under the same id.
        """
        if self.cut_off is not None and self.cut_off.covers(unit.first_position):
            return "erased"
        rows = self.recorded.get(unit.blob_id, ())
        covering = [row for row in rows if covers(row.key, unit.key)]
        if any(row.state == "erased" for row in covering):
            return "erased"
        # A conflicting blob is recorded under the id, too; it must not make the rightful one conflict.
        rightful = [row for row in rows if row.reason != ID_CONFLICT]
        if any(row.content_hash not in (None, unit.content_hash) for row in rightful):
            return "conflict"
        states = {row.state for row in rightful if covers(row.key, unit.key)}
        if "applied" in states:
            return "applied"
        pieces = {row.state for row in rightful if row.key != unit.key and covers(unit.key, row.key)}
        if pieces:
            return "parked" if "parked" in pieces else "applied" if "applied" in pieces else "erased"
        return "parked" if "parked" in states else "new"

    def pieces(self, unit: Unit) -> Mapping[UnitKey, UnitState]:
        """The recorded units that are finer than this one: to try again, split so, leave out the applied."""
        rows = self.recorded.get(unit.blob_id, ())
        finer = (row for row in rows if row.key != unit.key and covers(unit.key, row.key))
        return {row.key: row.state for row in finer if row.reason != ID_CONFLICT}

    def rightful(self, blob_id: str) -> tuple[RecordedUnit, ...]:
        """What is recorded of a blob, without another one that came under its id."""
        return tuple(row for row in self.recorded.get(blob_id, ()) if row.reason != ID_CONFLICT)

    def is_conflict(self, blob_id: str, position: Position) -> bool:
        """Whether the record there was parked, for it brought another blob under the id."""
        rows = self.recorded.get(blob_id, ())
        return any(row.reason == ID_CONFLICT and row.position == position for row in rows)

    def is_erased(self, blob_id: str) -> bool:
        """Whether the blob was deleted."""
        return any(row.state == "erased" and row.message_index == WHOLE for row in self.recorded.get(blob_id, ()))

    def drops(self, blob_id: str, position: Position) -> bool:
        """Whether a blob that lies there will be left out: it was deleted, or its user forgotten since."""
        return self.is_erased(blob_id) or (self.cut_off is not None and self.cut_off.covers(position))

    def parked_here(self, unit: Unit) -> bool:
        """Whether just this delivery was parked before, so that its dead letter is written: no redrive."""
        rows = self.recorded.get(unit.blob_id, ())
        return any(
            row.state == "parked" and row.content_hash == unit.content_hash and row.position == unit.position
            for row in rows
            if covers(row.key, unit.key)
        )


def covers(coarse: UnitKey, fine: UnitKey) -> bool:
    """Whether the first unit holds the whole of the second."""
    return (
        coarse[0] == fine[0]
        and coarse[1] in (WHOLE, fine[1])
        and (coarse[2] in (WHOLE, fine[2]) if coarse[1] != WHOLE else True)
    )


def overlap(one: UnitKey, other: UnitKey) -> bool:
    """Whether two units share a piece."""
    return covers(one, other) or covers(other, one)


def book_of(recorded: Iterable[RecordedUnit], cut_off: ForgetCutOff | None = None) -> UnitBook:
    """A book of rows of one user, in any order."""
    by_blob: dict[str, list[RecordedUnit]] = {}
    for row in recorded:
        by_blob.setdefault(row.blob_id, []).append(row)
    return UnitBook({blob_id: tuple(rows) for blob_id, rows in by_blob.items()}, cut_off)


def partition_name(month: datetime) -> str:
    return f"units_{month:%Y_%m}"


def month_start(moment: datetime, months_later: int = 0) -> datetime:
    """Midnight of the month's first day, in the zone of `moment`."""
    months = moment.year * 12 + moment.month - 1 + months_later
    return moment.replace(year=months // 12, month=months % 12 + 1, day=1, hour=0, minute=0, second=0, microsecond=0)
