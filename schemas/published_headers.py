"""The headers and keys of each topic, as JSON Schemas of their UTF-8 text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas import headers as names
from schemas.changes import EVENT_UPDATED_TYPE, PROFILE_STATE_TYPE, PROFILE_UPDATED_TYPE
from schemas.records import MAX_ID_BYTES
from schemas.trace import TRACEPARENT, TRACESTATE

_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "string", "pattern": "^-?[0-9]+$"}
_JSON: Final = {"type": "string", "const": "application/json"}


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One header; `schema` is that of its text."""

    name: str
    description: str
    schema: Mapping[str, Any]
    required: bool = False


_TRACE: Final = (
    HeaderField(TRACEPARENT, "W3C trace context, as the producer sent it.", _TEXT),
    HeaderField(TRACESTATE, "W3C trace state, as the producer sent it.", _TEXT),
)
_ORIGIN: Final = (
    HeaderField(names.ORIGIN_TOPIC, "Topic that the producer wrote to, if the record was sent on.", _TEXT),
    HeaderField(names.ORIGIN_PARTITION, "Its partition there.", _NUMBER),
    HeaderField(names.ORIGIN_OFFSET, "Its offset there.", _NUMBER),
    HeaderField(names.ORIGIN_TIMESTAMP, "Its timestamp there: Unix time in milliseconds.", _NUMBER),
    HeaderField(names.BLOB_ID, "Id of the blob, where the value has none.", _TEXT),
)
_ERRORS: Final = (
    HeaderField(names.ERROR_TOPIC, "Topic of the record that was refused.", _TEXT, required=True),
    HeaderField(names.ERROR_PARTITION, "Its partition.", _NUMBER, required=True),
    HeaderField(names.ERROR_OFFSET, "Its offset.", _NUMBER, required=True),
    HeaderField(names.ERROR_TIMESTAMP, "Its timestamp: Unix time in milliseconds.", _NUMBER, required=True),
    HeaderField(names.ERROR_GROUP, "Consumer group that refused it, where it was refused as it was read.", _TEXT),
    HeaderField(names.ERROR_STAGE, "Step that refused it: `ingest`, `buffer` or `extract`.", _TEXT, required=True),
    HeaderField(names.ERROR_REASON, "Why, as one word: `invalid-record`, `content-rejected`, …", _TEXT, required=True),
    HeaderField(
        names.ERROR_MESSAGE, "Why, for a person: names the field and the fix, quotes nothing.", _TEXT, required=True
    ),
    HeaderField(names.ERROR_ATTEMPTS, "How often it was tried.", _NUMBER, required=True),
    HeaderField(names.ERROR_EXCEPTION, "Class of the error.", _TEXT),
    HeaderField(
        names.ERROR_EXPRESSION, "Expression of `ingest.sources` that failed on a record of another shape.", _TEXT
    ),
    HeaderField(
        names.ERROR_PIECES,
        "Which parts of it were refused, as JSON: a list of [message, part] of a blob, or of numbers of items.",
        _TEXT,
    ),
)
_CLOUDEVENT_IN: Final = (
    HeaderField("content-type", "application/cloudevents+json marks a CloudEvent in structured mode.", _TEXT),
    HeaderField("ce_specversion", "Marks a CloudEvent in binary mode; the value is its data.", _TEXT),
    HeaderField("ce_id", "With ce_source, the blob's id where the value has none.", _TEXT),
    HeaderField("ce_source", "Where the event comes from.", _TEXT),
    HeaderField("ce_type", "What happened.", _TEXT),
    HeaderField("ce_subject", "The user, where the value names none.", _TEXT),
    HeaderField("ce_time", "When it was said, where the value has no created_at.", _TEXT),
)


def _cloudevent_out(type_: str) -> tuple[HeaderField, ...]:
    text = dict(_TEXT)
    return (
        HeaderField("ce_specversion", "Version of CloudEvents.", {**text, "const": "1.0"}, required=True),
        HeaderField(
            "ce_id",
            "Id of the record; a second delivery has the same one.",
            {**text, "format": "uuid"},
            required=True,
        ),
        HeaderField("ce_type", "Type of the record.", {**text, "const": type_}, required=True),
        HeaderField("ce_source", "/memostream/ and the project.", {**text, "format": "uri-reference"}, required=True),
        HeaderField("ce_subject", "The user.", text, required=True),
        HeaderField("ce_time", "When it was committed.", {**text, "format": "date-time"}, required=True),
        HeaderField("content-type", "Of the value.", _JSON, required=True),
    )


HEADERS: Final[Mapping[str, tuple[HeaderField, ...]]] = {
    "chat-messages": (*_CLOUDEVENT_IN, *_TRACE, *_ORIGIN),
    "extraction-windows": _TRACE,
    "profile-updated": (*_cloudevent_out(PROFILE_UPDATED_TYPE), *_TRACE),
    "event-updated": (*_cloudevent_out(EVENT_UPDATED_TYPE), *_TRACE),
    "profiles": (*_cloudevent_out(PROFILE_STATE_TYPE), *_TRACE),
    "dead-letters": (*_ERRORS, *_ORIGIN, HeaderField("content-type", "Of the value.", _TEXT), *_TRACE),
}

_USER_KEY: Final = {
    "description": "User id. Choose the partition by murmur2 of it, as Java clients do; a record elsewhere is sent on.",
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_ID_BYTES,
}
_PROJECT_USER_KEY: Final = {
    "description": "`project/user`; a project id holds no slash, so the first one divides them.",
    "type": "string",
    "pattern": "^[^/]+/.+$",
}
KEYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "chat-messages": _USER_KEY,
    "extraction-windows": {**_USER_KEY, "description": "User id, on the partition of the user's messages."},
    "profile-updated": _PROJECT_USER_KEY,
    "event-updated": _PROJECT_USER_KEY,
    "profiles": _PROJECT_USER_KEY,
    "dead-letters": {"description": "Key of the original record.", "type": ["string", "null"]},
}


def headers_schema(fields: Iterable[HeaderField]) -> dict[str, Any]:
    """An object of header names; other headers may stand beside them."""
    listed = list(fields)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {item.name: {"description": item.description, **item.schema} for item in listed},
    }
    required = [item.name for item in listed if item.required]
    return {**schema, "required": required} if required else schema
