"""One record of `chat-messages` into the buffer: what changes, and what is to be sent with the same transaction."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

import orjson

from schemas import headers as names
from schemas.errors import InvalidRecord
from schemas.identity import content_hash, position_blob_id, window_id
from schemas.records import BLOB_TYPES, Blob, Command, check_id, decode_record
from schemas.tokens import TokenCounter
from schemas.windows import CloseReason, Position, Unit, Window, WindowCommand
from streams.buffer_codec import HeadKey
from streams.buffer_state import PartitionState, encoded
from streams.topics import HEADER_ROOM_BYTES, partition_for
from streams.windowing import (
    WindowPolicy,
    add,
    close_after,
    close_before,
    pack,
    record_time_ms,
    split,
    unit_tokens,
)

STAGE: Final = "buffer"
# What the pieces of one blob may take together, in times of max_blob_bytes: each repeats the blob's `fields`.
MAX_PIECES_FACTOR: Final = 32
# Above these a position fits no column, and a timestamp no calendar (the year 10000).
MAX_PARTITION: Final = (1 << 31) - 1
MAX_OFFSET: Final = (1 << 63) - 1
MAX_TIMESTAMP_MS: Final = 253_402_300_799_999

Destination = Literal["chat_messages", "extraction_windows", "dead_letters"]
Headers = tuple[tuple[str, bytes], ...]


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

    @property
    def position(self) -> Position:
        return Position(topic=self.topic, partition=self.partition, offset=self.offset, timestamp_ms=self.timestamp_ms)


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
    """What a batch sends beside its changelog records, and what it counts."""

    outgoing: list[Outgoing] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class BufferContext:
    """What the decisions of one partition depend on beside the record and the state."""

    partition: int
    partitions: int
    group: str
    policy: WindowPolicy
    max_blob_bytes: int
    count_tokens: TokenCounter


def handle(record: RawRecord, state: PartitionState, context: BufferContext, effects: Effects) -> None:
    """Decide one record: buffer, close, forward, park or ignore it. Deterministic."""
    if record.value is None:
        effects.counts["null"] += 1
        return
    try:
        origin = _origin(record)
        if len(record.value) > context.max_blob_bytes:
            raise InvalidRecord(
                "too-large",
                f"the value has {len(record.value)} bytes, buffer.max_blob_bytes is {context.max_blob_bytes}",
            )
        decoded = decode_record(record.value)
        if _is_misplaced(record, decoded.user_id, context):
            effects.outgoing.append(_forwarded(record, decoded, origin, context))
            effects.counts["forwarded"] += 1
        elif isinstance(decoded, Command):
            _handle_command(record, origin, decoded, state, context, effects)
        else:
            _handle_blob(record, origin, decoded, state, context, effects)
    except InvalidRecord as error:
        effects.outgoing.append(dead_letter(record, error, context.group))
        effects.counts["parked"] += 1


def close(
    key: HeadKey, reason: CloseReason, state: PartitionState, context: BufferContext, effects: Effects
) -> list[UUID]:
    """Close a user's buffer into one or more windows and return their ids."""
    return _send_windows(key, reason, state.take(key), context, effects)


def dead_letter(record: RawRecord, error: InvalidRecord, group: str) -> Outgoing:
    """The record with its original key, bytes and headers, and why and where it was refused in headers of ours."""
    added = {
        names.ERROR_TOPIC: record.topic,
        names.ERROR_PARTITION: str(record.partition),
        names.ERROR_OFFSET: str(record.offset),
        names.ERROR_TIMESTAMP: str(record.timestamp_ms),
        names.ERROR_GROUP: group,
        names.ERROR_STAGE: STAGE,
        names.ERROR_REASON: error.reason,
        names.ERROR_MESSAGE: error.detail,
        names.ERROR_ATTEMPTS: "1",
    }
    return Outgoing("dead_letters", record.key, record.value or b"", headers=record.headers + _encoded(added))


def _handle_blob(
    record: RawRecord,
    origin: Position | None,
    blob: Blob,
    state: PartitionState,
    context: BufferContext,
    effects: Effects,
) -> None:
    key = HeadKey(blob.project_id, blob.user_id, blob.blob_type)
    unit = _unit_of(record, origin, blob, context)
    known_hash = state.buffered_hash(key.project_id, key.user_id, unit.blob_id)
    if known_hash == unit.content_hash:
        effects.counts["duplicate"] += 1
        return
    if known_hash is not None:
        raise InvalidRecord(
            "id-conflict", "id: another record with this id and other content came before; change one id"
        )
    entry = encoded(unit)
    if len(entry) + HEADER_ROOM_BYTES > 2 * context.max_blob_bytes:
        raise InvalidRecord("too-large", f"normalised it has {len(entry)} bytes, more than a window can hold")
    pieces = _pieces_of(unit, context) if unit.token_count > context.policy.process_tokens else []
    head = state.head(key)
    now_ms = record_time_ms(unit, head)
    if head is not None:
        reason = close_before(head, now_ms, len(entry), context.policy)
        if reason is not None:
            close(key, reason, state, context, effects)
            head = None
    effects.counts["buffered"] += 1
    if pieces:
        _send_windows(key, "tokens", state.take(key) + pieces, context, effects)
        return
    head = add(head, unit, now_ms, len(entry))
    state.append(key, head, unit, entry)
    reason = close_after(head, context.policy)
    if reason is not None:
        close(key, reason, state, context, effects)


def _handle_command(
    record: RawRecord,
    origin: Position | None,
    command: Command,
    state: PartitionState,
    context: BufferContext,
    effects: Effects,
) -> None:
    window_ids: list[UUID] = []
    blob_types = (command.blob_type,) if command.blob_type else BLOB_TYPES
    for key in state.user_keys(command.project_id, command.user_id, blob_types):
        head = state.head(key)
        if command.command == "forget-user":
            state.take(key)
        elif head is not None and command.last_blob_id in (None, head.last_blob_id):
            window_ids += close(key, "flush", state, context, effects)
    command_id = command.id or _derived_id(record, origin)
    forwarded = WindowCommand(
        command=command, command_id=command_id, position=record.position, origin=origin, window_ids=window_ids
    )
    effects.outgoing.append(_to_windows(command.user_id, forwarded, context))
    effects.counts["command"] += 1


def _send_windows(
    key: HeadKey,
    reason: CloseReason,
    units: Sequence[tuple[Unit, int]],
    context: BufferContext,
    effects: Effects,
) -> list[UUID]:
    ids = []
    for packed in pack(units, context.policy):
        identifier = window_id(key.project_id, key.user_id, [unit.key for unit in packed])
        window = Window.model_validate(
            {
                "window_id": identifier,
                **key._asdict(),
                "reason": reason,
                "token_count": sum(unit.token_count for unit in packed),
                "units": packed,
            }
        )
        effects.outgoing.append(_to_windows(key.user_id, window, context))
        effects.counts[f"window.{reason}"] += 1
        ids.append(identifier)
    return ids


def _to_windows(user_id: str, value: Window | WindowCommand, context: BufferContext) -> Outgoing:
    document = value.model_dump(mode="json", exclude_none=True)
    return Outgoing("extraction_windows", user_id.encode(), orjson.dumps(document), context.partition)


def _unit_of(record: RawRecord, origin: Position | None, blob: Blob, context: BufferContext) -> Unit:
    recorded_at_ms = (origin or record.position).timestamp_ms
    content = blob.content()
    unit = Unit(
        blob_id=blob.id or _derived_id(record, origin),
        content_hash=content_hash(content),
        token_count=0,
        occurred_at_ms=int(blob.created_at.timestamp() * 1000) if blob.created_at else recorded_at_ms,
        recorded_at_ms=recorded_at_ms,
        position=record.position,
        origin=origin,
        content=content,
    )
    return unit.model_copy(update={"token_count": unit_tokens(unit, context.count_tokens)})


def _pieces_of(unit: Unit, context: BufferContext) -> list[tuple[Unit, int]]:
    limit_bytes = MAX_PIECES_FACTOR * context.max_blob_bytes
    pieces = []
    for piece in split(unit, context.policy.process_tokens, context.count_tokens):
        size_bytes = len(encoded(piece))
        limit_bytes -= size_bytes
        if limit_bytes < 0:
            raise InvalidRecord(
                "too-large", "its pieces take too much, for each repeats fields, alias and created_at; shorten those"
            )
        pieces.append((piece, size_bytes))
    return pieces


def _is_misplaced(record: RawRecord, user_id: str, context: BufferContext) -> bool:
    key = user_id.encode()
    return record.key != key or partition_for(key, context.partitions) != record.partition


def _forwarded(record: RawRecord, decoded: Blob | Command, origin: Position | None, context: BufferContext) -> Outgoing:
    key = decoded.user_id.encode()
    first = origin or record.position
    added = {
        names.ORIGIN_TOPIC: first.topic,
        names.ORIGIN_PARTITION: str(first.partition),
        names.ORIGIN_OFFSET: str(first.offset),
        names.ORIGIN_TIMESTAMP: str(first.timestamp_ms),
        names.BLOB_ID: decoded.id or _derived_id(record, origin),
    }
    kept = tuple(header for header in record.headers if header[0] not in added)
    partition = partition_for(key, context.partitions)
    return Outgoing("chat_messages", key, record.value or b"", partition, kept + _encoded(added))


def _derived_id(record: RawRecord, origin: Position | None) -> str:
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


def _origin(record: RawRecord) -> Position | None:
    found = dict(record.headers)
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
