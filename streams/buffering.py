"""One record of `chat-messages` into the buffer: what changes, and what is to be sent with the same transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast
from uuid import UUID

from schemas.buffer_views import ClosedBlob, ClosedWindow, ParkedRecord
from schemas.envelope import Opened, open_value, trace_of
from schemas.errors import InvalidRecord
from schemas.identity import window_id
from schemas.records import BLOB_TYPES, Blob, BlobType, Command, parse_record
from schemas.tokens import TokenCounter
from schemas.trace import Trace
from schemas.windows import CloseReason, Position, Unit, WindowCommand, encode_window, newest_trace
from streams.blob_records import unit_of
from streams.buffer_codec import Entry, HeadKey, encode_entry, open_entry
from streams.buffer_memory import Closed, Forgotten, Parked, User
from streams.buffer_state import PartitionState
from streams.raw_records import (
    Effects,
    Outgoing,
    RawRecord,
    dead_letter,
    derived_id,
    forwarded,
    origin_of,
)
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


def everybody(project_id: str, user_id: str) -> bool:  # noqa: ARG001
    return True


@dataclass(frozen=True, slots=True)
class BufferContext:
    """What the decisions of one partition depend on beside the record and the state."""

    partition: int
    partitions: int
    group: str
    policy: WindowPolicy
    max_blob_bytes: int
    count_tokens: TokenCounter
    # Which projects' and users' records are taken.
    takes: Callable[[str, str], bool] = everybody


def handle(record: RawRecord, state: PartitionState, context: BufferContext, effects: Effects) -> None:
    """Decide one record: buffer, close, forward, park or ignore it. Deterministic."""
    if record.value is None:
        effects.counts["null"] += 1
        return
    opened: Opened | None = None
    decoded: Blob | Command | None = None
    try:
        origin = origin_of(record)
        if len(record.value) > context.max_blob_bytes:
            raise InvalidRecord(
                "too-large",
                f"the value has {len(record.value)} bytes, buffer.max_blob_bytes is {context.max_blob_bytes}",
            )
        opened = open_value(record.value, record.headers)
        effects.note_trace(opened.trace)
        decoded = parse_record(opened.document)
        if not context.takes(decoded.project_id, decoded.user_id):
            effects.counts["left-out"] += 1
            return
        key = decoded.user_id.encode()
        partition = partition_for(key, context.partitions)
        if record.key != key or record.partition != partition:
            if record.size_bytes + HEADER_ROOM_BYTES > 2 * context.max_blob_bytes:
                raise InvalidRecord("too-large", "its headers make it too large to be forwarded; shorten them")
            identifier = decoded.id or derived_id(record, origin)
            effects.outgoing.append(forwarded(record, origin, identifier, key, partition))
            effects.counts["forwarded"] += 1
        elif isinstance(decoded, Command):
            _handle_command(record, origin, decoded, opened.trace, state, context, effects)
        else:
            _handle_blob(record, origin, decoded, opened.trace, state, context, effects)
    except InvalidRecord as error:
        if opened is None:
            effects.note_trace(trace_of(record.headers))
        effects.outgoing.append(
            dead_letter(record, error, stage=STAGE, group=context.group, max_blob_bytes=context.max_blob_bytes)
        )
        effects.counts["parked"] += 1
        effects.counts[f"letter.{error.reason}"] += 1
        if decoded is not None:
            parked = ParkedRecord(offset=record.offset, blob_id=decoded.id, reason=error.reason)
            effects.outcomes.append(Parked(User(decoded.project_id, decoded.user_id), parked))


def close(
    key: HeadKey, reason: CloseReason, closed_by: int, state: PartitionState, context: BufferContext, effects: Effects
) -> list[UUID]:
    """Close a user's buffer into one or more windows and return their ids; `closed_by` is the record's offset."""
    return _send_windows(key, reason, closed_by, state.take(key), context, effects)


def _handle_blob(
    record: RawRecord,
    origin: Position | None,
    blob: Blob,
    trace: Trace,
    state: PartitionState,
    context: BufferContext,
    effects: Effects,
) -> None:
    key = HeadKey(blob.project_id, blob.user_id, blob.blob_type)
    unit = unit_of(record, origin, blob, trace)
    unit = unit.model_copy(update={"token_count": unit_tokens(unit, context.count_tokens)})
    known_hash = state.buffered_hash(key.project_id, key.user_id, unit.blob_id)
    if known_hash == unit.content_hash:
        effects.counts["duplicate"] += 1
        return
    if known_hash is not None:
        raise InvalidRecord(
            "id-conflict", "id: another record with this id and other content came before; change one id"
        )
    entry = encode_entry(unit)
    if len(entry) + HEADER_ROOM_BYTES > 2 * context.max_blob_bytes:
        raise InvalidRecord("too-large", f"normalised it has {len(entry)} bytes, more than a window can hold")
    pieces = _pieces_of(unit, context) if unit.token_count > context.policy.process_tokens else []
    head = state.head(key)
    now_ms = record_time_ms(unit, head)
    if head is not None:
        reason = close_before(head, now_ms, len(entry), context.policy)
        if reason is not None:
            close(key, reason, record.offset, state, context, effects)
            head = None
    effects.counts["buffered"] += 1
    if pieces:
        _send_windows(key, "tokens", record.offset, state.take(key) + pieces, context, effects)
        return
    head = add(head, unit, now_ms, len(entry))
    state.append(key, head, unit, entry)
    reason = close_after(head, context.policy)
    if reason is not None:
        close(key, reason, record.offset, state, context, effects)


def _handle_command(
    record: RawRecord,
    origin: Position | None,
    command: Command,
    trace: Trace,
    state: PartitionState,
    context: BufferContext,
    effects: Effects,
) -> None:
    window_ids: list[UUID] = []
    # A forget is of the whole user, whatever else it names.
    only_type = command.blob_type if command.command == "flush" else None
    blob_types = (only_type,) if only_type else BLOB_TYPES
    for key in state.user_keys(command.project_id, command.user_id, blob_types):
        head = state.head(key)
        if command.command == "forget-user":
            state.take(key)
        elif head is not None and command.last_blob_id in (None, head.last_blob_id):
            window_ids += close(key, "flush", record.offset, state, context, effects)
    command_id = command.id or derived_id(record, origin)
    forwarded = WindowCommand(
        command=command,
        command_id=command_id,
        position=record.position,
        origin=origin,
        window_ids=window_ids,
        **trace._asdict(),
    )
    value = forwarded.model_dump_json(exclude_none=True).encode()
    effects.outgoing.append(_to_windows(command.user_id, value, trace, context))
    effects.counts["command"] += 1
    if command.command == "forget-user":
        effects.outcomes.append(Forgotten(User(command.project_id, command.user_id)))


def _send_windows(
    key: HeadKey,
    reason: CloseReason,
    closed_by: int,
    entries: Sequence[Entry],
    context: BufferContext,
    effects: Effects,
) -> list[UUID]:
    ids = []
    for packed in pack(entries, context.policy):
        identifier = window_id(key.project_id, key.user_id, [entry.key for entry in packed])
        tokens = sum(entry.token_count for entry in packed)
        value = encode_window(identifier, *key, reason, tokens, [entry.unit for entry in packed])
        effects.outgoing.append(_to_windows(key.user_id, value, newest_trace(packed), context))
        effects.counts[f"window.{reason}"] += 1
        ids.append(identifier)
        # A blob that was split is one of them, whatever it has of pieces here.
        units = {entry.blob_id: entry.unit for entry in packed}
        closed = ClosedWindow(
            window_id=identifier,
            blob_type=cast(BlobType, key.blob_type),
            reason=reason,
            closed_by=closed_by,
            blobs=tuple(
                ClosedBlob(blob_id=blob_id, content_hash=unit["content_hash"], offset=unit["position"]["offset"])
                for blob_id, unit in units.items()
            ),
        )
        effects.outcomes.append(Closed(User(key.project_id, key.user_id), closed))
    return ids


def _to_windows(user_id: str, value: bytes, trace: Trace, context: BufferContext) -> Outgoing:
    return Outgoing("extraction_windows", user_id.encode(), value, context.partition, trace.headers())


def _pieces_of(unit: Unit, context: BufferContext) -> list[Entry]:
    limit_bytes = MAX_PIECES_FACTOR * context.max_blob_bytes
    pieces = []
    for piece in split(unit, context.policy.process_tokens, context.count_tokens):
        entry = open_entry(encode_entry(piece))
        limit_bytes -= entry.size_bytes
        if limit_bytes < 0:
            raise InvalidRecord(
                "too-large", "its pieces take too much, for each repeats fields, alias and created_at; shorten those"
            )
        pieces.append(entry)
    return pieces
