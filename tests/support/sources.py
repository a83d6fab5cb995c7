"""Topics of other people: their sources in the configuration, and documents of their records."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.mapping import IngestSource
from schemas.mapping_blobs import MappedRecord, map_document
from schemas.mapping_fields import compile_source

MAX_BLOB_BYTES: Final = 1 << 20

# Ten lines of YAML: nested, other names, several messages a record, no key.
TICKETS_YAML: Final = """\
ingest:
  sources:
    - topic: TOPIC
      user_id: value.ticket.customer.id
      created_at: value.ticket.opened_ms
      time_format: epoch_ms
      messages: value.ticket.thread
      role: message.from.kind
      content: message.body.text
      roles: {customer: user, agent: assistant, bot: drop}
"""
TICKETS: Final[Mapping[str, Any]] = {
    "topic": "tickets",
    "user_id": "value.ticket.customer.id",
    "created_at": "value.ticket.opened_ms",
    "time_format": "epoch_ms",
    "messages": "value.ticket.thread",
    "role": "message.from.kind",
    "content": "message.body.text",
    "roles": {"customer": "user", "agent": "assistant", "bot": "drop"},
}
LINES: Final[Mapping[str, Any]] = {
    "topic": "lines",
    "user_id": "value.user",
    "content": "value.text",
    "defaults": {"role": "user"},
}


def source(base: Mapping[str, Any] = LINES, **changes: Any) -> IngestSource:
    """A source; a change to None leaves the key out."""
    return IngestSource.model_validate({name: v for name, v in {**base, **changes}.items() if v is not None})


def ticket(*said: tuple[str, Any], customer: Any = "ann", opened_ms: Any = 1_795_000_000_000) -> dict[str, Any]:
    """A record of the tickets topic; `said` are pairs of kind and text."""
    thread = [{"from": {"kind": kind}, "body": {"text": text}} for kind, text in said]
    return {"ticket": {"customer": {"id": customer}, "opened_ms": opened_ms, "thread": thread}}


def mapped(value: Any, mapping: IngestSource, *, max_blob_bytes: int = MAX_BLOB_BYTES, **more: Any) -> MappedRecord:
    """What a source makes of a value; ids are `record`, or `record/<item>`."""
    place = {"topic": mapping.topic, "partition": 0, "offset": 0, "timestamp_ms": 0}
    return map_document(
        {"value": value, "key": None, "headers": {}, **place, **more},
        compile_source(mapping),
        lambda item: "record" if item is None else f"record/{item}",
        max_blob_bytes,
    )
