"""Dead letters: what one is of, what has become of it since, and how it is sent again. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import orjson

from schemas import headers as names
from schemas.envelope import open_value
from schemas.errors import ConfigurationError, InvalidRecord, NotFound
from schemas.headers import Headers
from schemas.identity import position_blob_id
from schemas.mapping_fields import CompiledSource
from schemas.records import DEFAULT_PROJECT_ID
from schemas.windows import Position
from storage.units import ID_CONFLICT, ForgetCutOff, RecordedUnit
from streams.ingest_records import STAGE as INGEST
from streams.ingest_records import map_record
from streams.raw_records import RawRecord, origin_of, with_origin

# `open` may be sent again; the others are done: it was applied since, erased or dropped, or its user forgotten.
Status = Literal["open", "applied", "erased", "forgotten"]
BlobKey = tuple[str, str, str]

UserKey = tuple[str, str]

ERRORS_PREFIX: Final = "__memostream.errors."
# Of several blobs, what any of them is in this order.
ORDER: Final[tuple[Status, ...]] = ("open", "applied", "erased", "forgotten")


@dataclass(frozen=True, slots=True)
class Mappings:
    """Of the sources, by topic."""

    compiled: Mapping[str, CompiledSource] = field(default_factory=dict)
    max_blob_bytes: int = 0


NO_MAPPINGS: Final = Mappings()


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of `dead-letters`, the newest of those with the same `first`: where it was sent in the first place.

    `source` is where it was refused. `blobs` are those that it is of; a value that cannot be read has none, and one
    that could not be mapped has those which the mapping of now makes of it. `is_refused` where that still refuses some;
    `is_part` where it holds a part of a text that was cut.
    `times` counts its letters, so how often it has failed.
    """

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: Headers
    first: Position
    source: Position
    stage: str
    reason: str
    detail: str
    blobs: tuple[BlobKey, ...] = ()
    is_refused: bool = False
    is_part: bool = False
    times: int = 1
    status: Status = "open"

    @property
    def place(self) -> str:
        """How a person names it."""
        return f"{self.partition}/{self.offset}"

    @property
    def obstacle(self) -> str | None:
        """Why it cannot be sent again; None where it can."""
        place = f"{self.source.topic}/{self.source.partition}/{self.source.offset}"
        if not self.value:
            return f"the record was too large for this topic; it lies at {place}"
        if self.is_part:
            return f"it holds a part of a record that was cut, which lies whole at {place}: send that again"
        return None

    @property
    def project_id(self) -> str | None:
        """None where nobody knows whose it is."""
        return self.blobs[0][0] if self.blobs else None

    @property
    def user_id(self) -> str | None:
        """None where nobody knows whose it is."""
        return self.blobs[0][1] if self.blobs else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters; empty and None is any. Times are those of the letters, in Unix milliseconds."""

    places: frozenset[tuple[int, int]] = frozenset()
    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    project_id: str | None = None
    user_id: str | None = None
    begin_ms: int | None = None
    end_ms: int | None = None

    def takes(self, letter: Letter) -> bool:
        return (
            (not self.places or (letter.partition, letter.offset) in self.places)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.source.topic in self.topics)
            and self.project_id in (None, letter.project_id)
            and self.user_id in (None, letter.user_id)
            and (self.begin_ms is None or letter.timestamp_ms >= self.begin_ms)
            and (self.end_ms is None or letter.timestamp_ms < self.end_ms)
        )


def check_words(wanted: Wanted, letters: Sequence[Letter]) -> None:
    """Raise NotFound for a reason or a topic that none of the letters has, where there are any."""
    for name, words, found in (
        ("reason", wanted.reasons, {letter.reason for letter in letters}),
        ("topic", wanted.topics, {letter.source.topic for letter in letters}),
    ):
        if found and (unknown := words - found):
            raise NotFound(f"no dead letter has the {name} {min(unknown)}: there are {', '.join(sorted(found))}")


@dataclass(frozen=True, slots=True)
class Again:
    """A letter as it is sent again."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers


def places_of(texts: Iterable[str]) -> frozenset[tuple[int, int]]:
    """Places as `list` prints them; raises ConfigurationError for another form."""
    found = set()
    for text in texts:
        partition, _, offset = text.partition("/")
        if not (partition.isdecimal() and offset.isdecimal()):
            raise ConfigurationError(f"{text} is no place of a dead letter: it is PARTITION/OFFSET, as `list` shows it")
        found.add((int(partition), int(offset)))
    return frozenset(found)


def read_letter(record: RawRecord, mappings: Mappings = NO_MAPPINGS) -> Letter | None:
    """The letter; None for what is none of ours. `mappings` are those of the sources that are configured now."""
    found = {name: value or b"" for name, value in record.headers}
    try:
        source = Position(
            topic=found[names.ERROR_TOPIC].decode(),
            partition=int(found[names.ERROR_PARTITION]),
            offset=int(found[names.ERROR_OFFSET]),
            timestamp_ms=int(found[names.ERROR_TIMESTAMP]),
        )
    except (KeyError, ValueError):
        return None
    try:
        first = origin_of(record) or source
    except InvalidRecord:
        first = source
    stage = found.get(names.ERROR_STAGE, b"").decode("utf-8", "replace")
    is_refused = False
    if stage == INGEST:
        blobs, is_refused = _mapped(record, source, first, mappings)
    else:
        blobs = _named(record, first, found.get(names.BLOB_ID, b""))
    return Letter(
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        key=record.key,
        value=record.value or b"",
        headers=record.headers,
        first=first,
        source=source,
        stage=stage,
        reason=found.get(names.ERROR_REASON, b"").decode("utf-8", "replace"),
        detail=found.get(names.ERROR_MESSAGE, b"").decode("utf-8", "replace"),
        blobs=blobs,
        is_refused=is_refused,
        is_part=stage != INGEST and _names_parts(found.get(names.ERROR_PIECES, b"[]")),
    )


def newest_letters(letters: Iterable[Letter]) -> list[Letter]:
    """One for each record that was refused, in the order in which these were sent: by topic, partition and offset."""
    by_first: dict[tuple[object, ...], Letter] = {}
    for letter in letters:
        # A record of a source may have become several blobs, each with its letter.
        key = letter.first, None if letter.stage == INGEST else letter.blobs
        earlier = by_first.get(key)
        times = letter.times + (0 if earlier is None else earlier.times)
        newest = letter if earlier is None or earlier.timestamp_ms <= letter.timestamp_ms else earlier
        by_first[key] = replace(newest, times=times)
    return sorted(
        by_first.values(),
        key=lambda letter: (letter.first.topic, letter.first.partition, letter.first.offset, letter.blobs),
    )


def status_of(
    letter: Letter, recorded: Mapping[BlobKey, Collection[RecordedUnit]], cut_offs: Mapping[UserKey, ForgetCutOff]
) -> Status:
    """What has become of it, by what is recorded of its blobs and of its users' last forgets."""
    states = {_state(letter, recorded.get(blob, ()), cut_offs.get(blob[:2])) for blob in letter.blobs}
    if not states or letter.is_refused:
        return "open"
    return next(status for status in ORDER if status in states)


def _state(letter: Letter, rows: Collection[RecordedUnit], cut_off: ForgetCutOff | None) -> Status:
    if cut_off is not None and cut_off.covers(letter.first):
        return "forgotten"
    if letter.reason == ID_CONFLICT:
        # What is recorded is the blob that came first.
        return "open"
    states = {row.state for row in rows if row.reason != ID_CONFLICT}
    if "parked" in states or not states:
        return "open"
    return "applied" if "applied" in states else "erased"


def again(letter: Letter, chat_messages: str) -> Again:
    """As it was sent in the first place, with its origin: the same ids come of it, and what is applied is skipped.

    What could not be mapped goes to its source, to be mapped as that is configured now; all else to `chat_messages`.
    """
    kept = tuple(header for header in letter.headers if not header[0].startswith(ERRORS_PREFIX))
    kept = with_origin(kept, letter.first)
    if letter.stage == INGEST:
        return Again(letter.source.topic, letter.key, letter.value, kept)
    key = letter.key if letter.user_id is None else letter.user_id.encode()
    return Again(chat_messages, key, letter.value, kept)


def counted(letters: Sequence[Letter]) -> Mapping[str, int]:
    """How many there are of each reason, the most frequent first."""
    counts = Counter(letter.reason for letter in letters)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _named(record: RawRecord, first: Position, carried: bytes) -> tuple[BlobKey, ...]:
    """The blob that a record of `chat-messages` is, by what can be read of it."""
    try:
        document = open_value(record.value or b"", record.headers).document
    except InvalidRecord:
        return ()
    if not isinstance(document, dict) or (user_id := _text(document.get("user_id"))) is None:
        return ()
    derived = position_blob_id(first.topic, first.partition, first.offset, first.timestamp_ms)
    blob_id = _text(document.get("id")) or carried.decode("utf-8", "replace") or derived
    return ((_text(document.get("project_id")) or DEFAULT_PROJECT_ID, user_id, blob_id),)


def _mapped(
    record: RawRecord, source: Position, first: Position, mappings: Mappings
) -> tuple[tuple[BlobKey, ...], bool]:
    """The blobs of a source's record, and whether some of it is refused still."""
    mapping = mappings.compiled.get(source.topic)
    if mapping is None:
        return (), True
    place = replace(record, topic=source.topic, partition=source.partition, offset=source.offset)
    headers = tuple(header for header in record.headers if not header[0].startswith(ERRORS_PREFIX))
    try:
        found = map_record(
            replace(place, timestamp_ms=source.timestamp_ms, headers=headers),
            record.value or b"",
            first,
            mapping,
            mappings.max_blob_bytes,
        )
    except InvalidRecord:
        return (), True
    blobs = tuple((item.blob.project_id, item.blob.user_id, item.blob.id or "") for item in found.blobs)
    return blobs, bool(found.refusals)


def _names_parts(pieces: bytes) -> bool:
    try:
        listed = orjson.loads(pieces)
    except orjson.JSONDecodeError:
        return False
    return isinstance(listed, list) and any(isinstance(piece, list) and piece[-1:] != [None] for piece in listed)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
