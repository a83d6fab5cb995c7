"""Records as bytes: read undecoded, sent on with where they came from, or parked with what is wrong with them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from schemas import headers as names
from schemas.errors import InvalidRecord
from schemas.headers import Headers
from schemas.identity import position_blob_id
from schemas.records import MAX_ID_BYTES, check_id
from schemas.trace import Trace
from schemas.windows import Position
from streams.buffer_memory import Outcome

# Above these a position fits no column, and a timestamp no calendar (the year 10000).
MAX_PARTITION: Final = (1 << 31) - 1
MAX_OFFSET: Final = (1 << 63) - 1
MAX_TIMESTAMP_MS: Final = 253_402_300_799_999
# The lengths that stand before a header's name and value.
HEADER_OVERHEAD_BYTES: Final = 4

Destination = Literal["chat_messages", "extraction_windows", "dead_letters"]
Stage = Literal["ingest", "buffer"]
NO_HEADERS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it was read, nothing decoded."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @classmethod
    def of(cls, record: Any) -> "RawRecord":
        """Of a record as aiokafka has read it."""
        return cls(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            key=record.key,
            value=record.value,
            headers=tuple(record.headers),
        )

    @property
    def position(self) -> Position:
        """Where it lies. A producer chooses the timestamp: one that no calendar holds counts as the nearest."""
        timestamp_ms = max(-1, min(self.timestamp_ms, MAX_TIMESTAMP_MS))
        return Position(topic=self.topic, partition=self.partition, offset=self.offset, timestamp_ms=timestamp_ms)

    @property
    def size_bytes(self) -> int:
        """Of key, value and headers."""
        headers_bytes = sum(len(name.encode()) + len(value or b"") for name, value in self.headers)
        headers_bytes += HEADER_OVERHEAD_BYTES * len(self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers_bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to send; `partition` None lets the key decide."""

    destination: Destination
    key: bytes | None
    value: bytes
    partition: int | None = None
    headers: Headers = ()


@dataclass(slots=True)
class Effects:
    """What a batch sends beside its changelog records, what it counts, and what those who wait for it are told.

    `traces` are those that its records stand in.
    """

    outgoing: list[Outgoing] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    outcomes: list[Outcome] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)

    def note_trace(self, trace: Trace) -> None:
        if trace:
            self.traces.append(trace)


def dead_letter(
    record: RawRecord,
    error: InvalidRecord,
    *,
    stage: Stage,
    group: str,
    max_blob_bytes: int,
    named: Mapping[str, str] = NO_HEADERS,
) -> Outgoing:
    """The record with its original key, bytes and headers, and why and where it was refused in headers of ours.

    Of a record that `dead-letters` cannot hold only the headers of ours are left. `named` are more of these.
    """
    detail = error.detail
    # A broker measures compressed records, so one may be read that no topic takes as it is.
    if record.size_bytes > 2 * max_blob_bytes:
        detail = f"{detail}; too large for this topic, it stays where it lay"
        record = emptied(record)
    added = {
        names.ERROR_TOPIC: record.topic,
        names.ERROR_PARTITION: str(record.partition),
        names.ERROR_OFFSET: str(record.offset),
        names.ERROR_TIMESTAMP: str(record.timestamp_ms),
        names.ERROR_GROUP: group,
        names.ERROR_STAGE: stage,
        names.ERROR_REASON: error.reason,
        names.ERROR_MESSAGE: detail,
        names.ERROR_ATTEMPTS: "1",
        **named,
    }
    return Outgoing("dead_letters", record.key, record.value or b"", headers=record.headers + _encoded(added))


def emptied(record: RawRecord) -> RawRecord:
    """The record without value, headers and a key that is no id, for a dead letter that could not hold them."""
    is_id = record.key is not None and len(record.key) <= MAX_ID_BYTES
    return replace(record, key=record.key if is_id else None, value=b"", headers=())


def forwarded(record: RawRecord, origin: Position | None, identifier: str, key: bytes, partition: int) -> Outgoing:
    """The record under the key and on the partition where it belongs, with its id and its origin in headers of ours."""
    added = origin_headers(origin or record.position) + _encoded({names.BLOB_ID: identifier})
    replaced = {name for name, _ in added}
    kept = tuple(header for header in record.headers if header[0] not in replaced)
    return Outgoing("chat_messages", key, record.value or b"", partition, kept + added)


def origin_headers(position: Position) -> Headers:
    """Where a record came from, as `origin_of` reads it."""
    return _encoded(
        {
            names.ORIGIN_TOPIC: position.topic,
            names.ORIGIN_PARTITION: str(position.partition),
            names.ORIGIN_OFFSET: str(position.offset),
            names.ORIGIN_TIMESTAMP: str(position.timestamp_ms),
        }
    )


def with_origin(headers: Headers, first: Position) -> Headers:
    """Headers of a record that is sent again: they name where it was sent first, `first` unless they do so already."""
    return headers if names.ORIGIN_TOPIC in {name for name, _ in headers} else headers + origin_headers(first)


def derived_id(record: RawRecord, origin: Position | None) -> str:
    """The id of a record whose value holds none; raises InvalidRecord if it carries one that is no id."""
    carried = dict(record.headers).get(names.BLOB_ID)
    if carried is not None:
        return _carried_id(carried)
    first = origin or record.position
    return position_blob_id(first.topic, first.partition, first.offset, first.timestamp_ms)


def _carried_id(value: bytes) -> str:
    try:
        return check_id(value.decode())
    except ValueError as error:
        raise InvalidRecord("invalid-headers", f"{names.BLOB_ID} is no id; leave it out") from error


def origin_of(record: RawRecord) -> Position | None:
    """Where a forwarded or redriven record came from; raises InvalidRecord if its headers name no position."""
    found = {name: value or b"" for name, value in record.headers}
    if names.ORIGIN_TOPIC not in found:
        return None
    try:
        return Position(
            topic=check_id(found[names.ORIGIN_TOPIC].decode()),
            partition=_number(found[names.ORIGIN_PARTITION], MAX_PARTITION),
            offset=_number(found[names.ORIGIN_OFFSET], MAX_OFFSET),
            timestamp_ms=_number(found[names.ORIGIN_TIMESTAMP], MAX_TIMESTAMP_MS),
        )
    except (KeyError, ValueError) as error:
        raise InvalidRecord(
            "invalid-headers", "the __memostream.origin.* headers do not name a position; leave them out"
        ) from error


def _number(value: bytes, maximum: int) -> int:
    number = int(value)
    # -1 is the timestamp of a record that has none.
    if not -1 <= number <= maximum:
        raise ValueError(f"must be -1 to {maximum}")
    return number


def _encoded(values: Mapping[str, str]) -> Headers:
    return tuple((name, value.encode()) for name, value in values.items())
