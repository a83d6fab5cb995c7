"""One record of a source topic: the records that it becomes on `chat-messages`, or its dead letter. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from schemas import headers as names
from schemas.envelope import decode_json, trace_of
from schemas.errors import InvalidRecord
from schemas.headers import Headers
from schemas.identity import item_blob_id, position_blob_id
from schemas.mapping_blobs import MappedRecord, Refusal, map_document
from schemas.mapping_fields import CompiledSource
from schemas.windows import Position
from streams.raw_records import Effects, Outgoing, RawRecord, dead_letter, origin_headers, origin_of

STAGE: Final = "ingest"
# Of a letter's message and its list of failed items; a record may hold thousands, and headers have little room.
DETAILED_REFUSALS: Final = 3
LISTED_ITEMS: Final = 1000
# A key that begins so is JSON; any other one is text.
JSON_KEY_BEGINS: Final = (b"{", b"[", b'"', b"\x00")


@dataclass(frozen=True, slots=True)
class IngestContext:
    """What the decisions of one source depend on beside the record."""

    mapping: CompiledSource
    group: str
    max_blob_bytes: int


def ingest(record: RawRecord, context: IngestContext, effects: Effects) -> None:
    """Map, park or ignore one record. Deterministic, so a record that is read twice gives the same ids."""
    if record.value is None:
        effects.counts["null"] += 1
        return
    trace = trace_of(record.headers)
    effects.note_trace(trace)
    try:
        origin = origin_of(record) or record.position
        mapped = map_record(record, record.value, origin, context.mapping, context.max_blob_bytes)
    except InvalidRecord as error:
        effects.outgoing.append(_letter(record, error, context))
        effects.counts["parked"] += 1
        effects.counts[f"letter.{error.reason}"] += 1
        return
    headers = origin_headers(origin) + trace.headers()
    for blob in mapped.blobs:
        effects.outgoing.append(Outgoing("chat_messages", blob.blob.user_id.encode(), blob.value, headers=headers))
    if mapped.refusals:
        effects.outgoing.append(_letter_of_refusals(record, mapped.refusals, context))
        effects.counts["parked"] += 1
        effects.counts[f"letter.{mapped.refusals[0].reason}"] += 1
    effects.counts["mapped"] += len(mapped.blobs)
    for what, count in mapped.ignored.items():
        effects.counts[f"ignored.{what}"] += count


def map_record(
    record: RawRecord, value: bytes, origin: Position, mapping: CompiledSource, max_blob_bytes: int
) -> MappedRecord:
    """What a mapping makes of a record; raises InvalidRecord for a value that is no JSON."""
    first = (origin.topic, origin.partition, origin.offset, origin.timestamp_ms)

    def blob_id(item: int | None) -> str:
        return position_blob_id(*first) if item is None else item_blob_id(*first, item)

    document = {
        "value": decode_json(value),
        "key": _key_document(record.key),
        "headers": _header_texts(record.headers),
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
    }
    return map_document(document, mapping, blob_id, max_blob_bytes)


def _key_document(key: bytes | None) -> Any:
    """JSON where it is an object, a list or quoted text; else its text. None if it is neither, as a binary number."""
    if key is None:
        return None
    try:
        if key.startswith(JSON_KEY_BEGINS):
            return decode_json(key)
    except InvalidRecord:
        pass
    text = _utf8(key)
    # Binary numbers are often valid UTF-8.
    return None if text is None or "\x00" in text else text


def _header_texts(headers: Headers) -> dict[str, str | None]:
    """Of several headers of one name the last one counts."""
    return {name: None if value is None else _utf8(value) for name, value in headers}


def _utf8(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _letter_of_refusals(record: RawRecord, refusals: Sequence[Refusal], context: IngestContext) -> Outgoing:
    first = refusals[0]
    details = [_described(refusal) for refusal in refusals[:DETAILED_REFUSALS]]
    if len(refusals) > DETAILED_REFUSALS:
        details.append(f"and {len(refusals) - DETAILED_REFUSALS} more")
    named = {} if first.expression is None else {names.ERROR_EXPRESSION: first.expression}
    items = [refusal.item for refusal in refusals if refusal.item is not None]
    if items:
        named[names.ERROR_PIECES] = orjson.dumps(items[:LISTED_ITEMS]).decode()
    return _letter(record, InvalidRecord(first.reason, "; ".join(details)), context, named)


def _letter(
    record: RawRecord, error: InvalidRecord, context: IngestContext, named: dict[str, str] | None = None
) -> Outgoing:
    return dead_letter(
        record,
        error,
        stage=STAGE,
        group=context.group,
        max_blob_bytes=context.max_blob_bytes,
        named=named or {},
    )


def _described(refusal: Refusal) -> str:
    return refusal.detail if refusal.item is None else f"item {refusal.item}: {refusal.detail}"
