"""Where a record of `chat-messages` stands: one answer for every record, from what all stages say of it. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from schemas.blob_states import BlobState, Outcome, least_finished
from schemas.envelope import open_value
from schemas.errors import InvalidRecord
from schemas.headers import Headers
from schemas.identity import position_blob_id
from schemas.records import Command, parse_record
from schemas.windows import Position, UnitKey
from storage.units import ForgetCutOff, RecordedUnit, covers
from streams.topics import partition_for

MAY_HAVE_A_COPY: Final = ("missing", "parked", "duplicate")

Place = tuple[int, int]
BlobKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Seen:
    """A record of `chat-messages` as the audit sees it; `key`, `value` and `headers` are as they were read.

    `origin` is the position in the record's own headers, where a forwarded or redriven copy says it came from, and
    `carried_id` the id that such a copy carries.
    """

    position: Position
    key: bytes | None
    value: bytes | None
    origin: Position | None = None
    carried_id: str | None = None
    headers: Headers = ()

    @property
    def place(self) -> Place:
        return self.position.partition, self.position.offset


@dataclass(frozen=True, slots=True)
class PendingUnit:
    """A unit in a window that is not finished, by the position of its record."""

    blob: BlobKey
    unit_key: UnitKey
    outcome: Literal["extracting", "held"]


@dataclass(frozen=True, slots=True)
class Stages:
    """What the stages hold, each read after the one before it, so that nothing slips through between them.

    `read_up_to` is the buffer agent's next offset by partition; `refused` are the places of the buffer agent's dead
    letters; `buffered` and `pending` are by place; `buffered_blobs` and `pending_blobs` are the blobs of those.
    `held` counts the held windows and commands by why they are.
    """

    read_up_to: Mapping[int, int]
    refused: Collection[Place] = frozenset()
    buffered: Collection[Place] = frozenset()
    buffered_blobs: Collection[BlobKey] = frozenset()
    pending: Mapping[Place, Sequence[PendingUnit]] = field(default_factory=dict)
    pending_blobs: Collection[BlobKey] = frozenset()
    held: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BlobFacts:
    """A decoded blob; `messages` is how many pieces it can be split into by message."""

    blob: BlobKey
    content_hash: str
    messages: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """A record that could be decoded; `facts` is None for a command, and `command` for a blob."""

    project_id: str
    user_id: str
    facts: BlobFacts | None
    command: str | None = None


@dataclass(slots=True)
class Tally:
    """Counts by outcome; they sum up to the records seen. `missing` holds the places of what is lost.

    `held` is that of the stages, whatever range is looked at.

    What looks lost, refused or sent twice may be the original of a copy that lies further on: such a record is put off
    until `settle`, when all copies are known.
    """

    records: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    missing: list[Place] = field(default_factory=list)
    put_off: dict[Place, Outcome] = field(default_factory=dict)
    copied: set[Place] = field(default_factory=set)
    held: Mapping[str, int] = field(default_factory=dict)

    def add(self, place: Place, outcome: Outcome) -> None:
        """Count a record; once for each."""
        self.records += 1
        if outcome in MAY_HAVE_A_COPY:
            self.put_off[place] = outcome
        else:
            self.counts[outcome] += 1

    def add_copy_of(self, place: Place) -> None:
        """Note that a copy names this place as its origin."""
        self.copied.add(place)

    @property
    def lacks_copies(self) -> bool:
        """Whether something will count as missing unless its copy is found."""
        return any(outcome == "missing" and place not in self.copied for place, outcome in self.put_off.items())

    def settle(self) -> None:
        """Count what was put off."""
        for place, outcome in sorted(self.put_off.items()):
            final = "forwarded" if place in self.copied else outcome
            self.counts[final] += 1
            if final == "missing":
                self.missing.append(place)
        self.put_off.clear()

    @property
    def agrees(self) -> bool:
        """Whether every record was counted once and none is missing."""
        return not self.missing and not self.put_off and sum(self.counts.values()) == self.records


def outcome_before_decoding(seen: Seen, stages: Stages) -> Outcome | None:
    """The outcome of a record whose content does not matter; None for all others."""
    if seen.position.offset >= stages.read_up_to.get(seen.position.partition, 0):
        return "unread"
    if seen.value is None:
        return "null"
    return "parked" if seen.place in stages.refused else None


def decode(seen: Seen) -> Decoded | None:
    """What is in a record; None if it cannot be decoded, so that it has to be a dead letter."""
    try:
        record = parse_record(open_value(seen.value or b"", seen.headers).document)
    except InvalidRecord:
        return None
    if isinstance(record, Command):
        return Decoded(record.project_id, record.user_id, None, record.command)
    first = seen.origin or seen.position
    derived = seen.carried_id or position_blob_id(first.topic, first.partition, first.offset, first.timestamp_ms)
    data = record.content()["blob_data"]
    messages = len(data.get("messages") or data.get("transcripts") or (None,))
    blob = (record.project_id, record.user_id, record.id or derived)
    return Decoded(record.project_id, record.user_id, BlobFacts(blob, record.content_hash(), messages))


def is_misplaced(seen: Seen, user_id: str, partitions: int) -> bool:
    """Whether the buffer agent forwards this record instead of buffering it."""
    key = user_id.encode()
    return seen.key != key or seen.position.partition != partition_for(key, partitions)


def outcome_of_blob(
    seen: Seen,
    facts: BlobFacts,
    stages: Stages,
    recorded: Iterable[RecordedUnit],
    cut_off: ForgetCutOff | None = None,
) -> Outcome:
    """The outcome of a blob on its right partition that the buffer agent has read.

    `recorded` are the units that Postgres has of its blob id, in the live generation, and `cut_off` is the user's
    last forget.
    """
    if cut_off is not None and cut_off.covers(seen.origin or seen.position):
        return "erased"
    if seen.place in stages.buffered:
        return "buffered"
    rows = tuple(recorded)
    same = [row for row in rows if row.content_hash == facts.content_hash]
    # A window may be finished while its offset is not committed yet.
    pending = [
        unit
        for unit in stages.pending.get(seen.place, ())
        if not any(covers(row.key, unit.unit_key) or covers(unit.unit_key, row.key) for row in same)
    ]
    here: list[BlobState] = [row.state for row in same if row.position == seen.position]
    here += [unit.outcome for unit in pending]
    if here:
        # Of all positions, for a parked piece that was sent again has moved to the newer one.
        keys = [row.key for row in same] + [unit.unit_key for unit in pending]
        return least_finished(here) if is_whole(keys, facts.messages) else "missing"
    if any(row.state == "erased" for row in rows):
        return "erased"
    elsewhere = same or facts.blob in stages.buffered_blobs or facts.blob in stages.pending_blobs
    return "duplicate" if elsewhere else "missing"


def is_whole(keys: Iterable[UnitKey], messages: int) -> bool:
    """Whether the pieces leave out no message of the blob, and no part between two parts of a message.

    How many parts a long message has is not known, so a lost last one is not seen.
    """
    parts: dict[int, set[int]] = {}
    for _, message_index, part in keys:
        if message_index == -1:
            return True
        parts.setdefault(message_index, set()).add(part)
    return parts.keys() >= set(range(messages)) and all(
        -1 in found or found == set(range(len(found))) for found in parts.values()
    )
