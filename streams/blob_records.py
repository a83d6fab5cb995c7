"""Blobs as units: what the buffer makes of a record, and what anybody else must make of it."""

from schemas.envelope import open_value
from schemas.errors import InvalidRecord
from schemas.identity import content_hash
from schemas.records import Blob, Command, parse_record
from schemas.trace import Trace
from schemas.windows import Position, Unit
from streams.raw_records import MAX_TIMESTAMP_MS, RawRecord, derived_id, origin_of


def unit_of(record: RawRecord, origin: Position | None, blob: Blob, trace: Trace) -> Unit:
    """The whole blob of a record; its tokens are not counted."""
    position = record.position
    recorded_at_ms = (origin or position).timestamp_ms
    # As a float the last moment of the calendar rounds up to one that is none.
    sent_ms = min(int(blob.created_at.timestamp() * 1000), MAX_TIMESTAMP_MS) if blob.created_at else None
    content = blob.content()
    return Unit(
        blob_id=blob.id or derived_id(record, origin),
        content_hash=content_hash(content),
        token_count=0,
        occurred_at_ms=recorded_at_ms if sent_ms is None else sent_ms,
        recorded_at_ms=recorded_at_ms,
        position=position,
        origin=origin,
        content=content,
        **trace._asdict(),
    )


def read_unit(record: RawRecord) -> tuple[Blob, Unit] | None:
    """The blob in a record and its unit; None for a record that holds none, whatever is wrong with it."""
    if record.value is None:
        return None
    try:
        origin = origin_of(record)
        opened = open_value(record.value, record.headers)
        decoded = parse_record(opened.document)
        if isinstance(decoded, Command):
            return None
        return decoded, unit_of(record, origin, decoded, opened.trace)
    except InvalidRecord:
        return None
