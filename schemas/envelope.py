"""What lies around a record's JSON: CloudEvents 1.0, schema registries' framing, and where in a trace it stands."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from schemas.changes import EVENT_UPDATED_TYPE, PROFILE_STATE_TYPE, PROFILE_UPDATED_TYPE
from schemas.errors import InvalidRecord
from schemas.headers import Headers
from schemas.identity import cloudevent_blob_id
from schemas.records import UtcDatetime, check_id
from schemas.trace import NO_TRACE, TRACEPARENT, TRACESTATE, Trace, valid_trace

# A registry's serialiser writes a zero and four bytes of the schema's id in front; JSON never begins with a zero byte.
REGISTRY_MAGIC: Final = b"\x00"
REGISTRY_PREFIX_BYTES: Final = 5

INVALID_CLOUDEVENT: Final = "invalid-cloudevent"
CONTENT_TYPE: Final = "content-type"
CLOUDEVENT_PREFIX: Final = "ce_"
SPECVERSION_HEADER: Final = "ce_specversion"
CLOUDEVENT_MEDIA_TYPE: Final = "application/cloudevents"
STRUCTURED_MEDIA_TYPE: Final = "application/cloudevents+json"
BATCH_MEDIA_TYPE: Final = "application/cloudevents-batch"
# Sent back to where messages are read, what memostream publishes holds nothing that a user said.
PUBLISHED_TYPES: Final = (PROFILE_UPDATED_TYPE, EVENT_UPDATED_TYPE, PROFILE_STATE_TYPE)

_REQUIRED_ATTRIBUTES: Final = ("id", "source", "type")
_READ_ATTRIBUTES: Final = ("specversion", *_REQUIRED_ATTRIBUTES, "time", "subject")
_SPECVERSION: Final = re.compile(r"1\.[0-9]+")
_JSON_MEDIA_TYPE: Final = re.compile(r"[^/;]+/([^;]*\+)?json")
_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
_TIME: Final[TypeAdapter[Any]] = TypeAdapter(UtcDatetime)


@dataclass(frozen=True, slots=True)
class Opened:
    """The document that a record carries, and its trace."""

    document: Any
    trace: Trace


def open_value(value: bytes, headers: Headers) -> Opened:
    """The blob or command in a record, not validated yet.

    Of a CloudEvent it is the data. What the data leaves out is taken from the attributes: `id` from source and id
    (which together name an event), `created_at` from time, `user_id` from subject.

    Raises InvalidRecord as `decode_json` does, and with reason `invalid-cloudevent`; its detail names the attribute
    at fault and never quotes a value.
    """
    if not headers:
        return Opened(decode_json(value), NO_TRACE)
    found = dict(headers)
    media_type = _media_type(found.get(CONTENT_TYPE))
    if media_type is not None and media_type.startswith(CLOUDEVENT_MEDIA_TYPE):
        event = _structured_event(value, media_type)
        trace = _trace_in(found) or valid_trace(event.get(TRACEPARENT), event.get(TRACESTATE))
        attributes = _checked({name: event.get(name) for name in _READ_ATTRIBUTES})
        return Opened(_completed(_structured_data(event), attributes), trace)
    if SPECVERSION_HEADER in found:
        texts = {name: _utf8(name, found.get(CLOUDEVENT_PREFIX + name)) for name in _READ_ATTRIBUTES}
        attributes = _checked(texts)
        _check_is_json(media_type)
        return Opened(_completed(decode_json(value), attributes), _trace_in(found))
    return Opened(decode_json(value), _trace_in(found))


def decode_json(value: bytes) -> Any:
    """The JSON document in a value, with or without a schema registry's id in front.

    Raises InvalidRecord with reason `invalid-utf8` or `invalid-json`, which quotes nothing of the value.
    """
    framed = value.startswith(REGISTRY_MAGIC) and len(value) > REGISTRY_PREFIX_BYTES
    try:
        text = (value[REGISTRY_PREFIX_BYTES:] if framed else value).decode()
    except UnicodeDecodeError as error:
        position = error.start + (REGISTRY_PREFIX_BYTES if framed else 0)
        raise InvalidRecord("invalid-utf8", f"byte {position} is no UTF-8; {_fix(framed)}") from None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        fix = _fix(framed) if framed else "send one JSON object a record"
        raise InvalidRecord("invalid-json", f"{where} is no JSON; {fix}") from None


def trace_of(headers: Headers) -> Trace:
    """The trace context in a record's headers; of several of one name the last counts, as everywhere in Kafka.

    `traceparent` goes before CloudEvents' `ce_traceparent`. What is invalid is dropped.
    """
    return _trace_in(dict(headers)) if headers else NO_TRACE


def _trace_in(found: Mapping[str, bytes | None]) -> Trace:
    for prefix in ("", CLOUDEVENT_PREFIX):
        parent = found.get(prefix + TRACEPARENT)
        if parent is not None:
            trace = valid_trace(_ascii(parent), _ascii(found.get(prefix + TRACESTATE)))
            if trace:
                return trace
    return NO_TRACE


def _structured_event(value: bytes, media_type: str) -> dict[str, Any]:
    if media_type.startswith(BATCH_MEDIA_TYPE):
        raise InvalidRecord(INVALID_CLOUDEVENT, "content-type: batches are not read; send one event a record")
    if media_type != STRUCTURED_MEDIA_TYPE:
        raise InvalidRecord(
            INVALID_CLOUDEVENT, f"content-type: of the event formats only {STRUCTURED_MEDIA_TYPE} is read; send that"
        )
    event = decode_json(value)
    if not isinstance(event, dict):
        raise InvalidRecord(INVALID_CLOUDEVENT, f"the value must be a JSON object, is a {type(event).__name__}")
    return event


def _structured_data(event: Mapping[str, Any]) -> Any:
    content_type = event.get("datacontenttype")
    if content_type is not None:
        _check_is_json(_media_type(content_type.encode() if isinstance(content_type, str) else b""))
    data, encoded = event.get("data"), event.get("data_base64")
    if data is None and encoded is None:
        raise InvalidRecord(INVALID_CLOUDEVENT, "data: is missing; put the blob or the command there")
    if encoded is None:
        return data
    if data is not None:
        raise InvalidRecord(INVALID_CLOUDEVENT, "data: must not stand beside data_base64; send one of them")
    try:
        return decode_json(base64.b64decode(encoded, validate=True))
    except (TypeError, ValueError, binascii.Error):
        raise InvalidRecord(INVALID_CLOUDEVENT, "data_base64: is no Base64") from None
    except InvalidRecord as error:
        raise InvalidRecord(error.reason, f"data_base64: {error.detail}") from None


def _checked(attributes: Mapping[str, Any]) -> dict[str, str]:
    """The attributes that are there; null stands for an absent one."""
    present = {name: value for name, value in attributes.items() if value is not None}
    for name, value in present.items():
        if not isinstance(value, str) or not value:
            raise InvalidRecord(INVALID_CLOUDEVENT, f"{name}: must be a text that is not empty")
    for name in ("specversion", *_REQUIRED_ATTRIBUTES):
        if name not in present:
            raise InvalidRecord(INVALID_CLOUDEVENT, f"{name}: is missing; every CloudEvent has one")
    if not _SPECVERSION.fullmatch(present["specversion"]):
        raise InvalidRecord(INVALID_CLOUDEVENT, "specversion: must be 1.0; other versions are not read")
    if present["type"] in PUBLISHED_TYPES:
        raise InvalidRecord(
            INVALID_CLOUDEVENT, "type: this is what memostream publishes, no message of a user; keep it off this topic"
        )
    if "time" in present:
        _check_time(present["time"])
    return present


def _check_time(text: str) -> None:
    try:
        if _RFC3339.fullmatch(text):
            _TIME.validate_python(text)
            return
    except ValidationError:
        pass
    raise InvalidRecord(INVALID_CLOUDEVENT, "time: must be RFC 3339, like 2026-11-20T10:00:00Z")


def _completed(document: Any, attributes: Mapping[str, str]) -> Any:
    """The document with what it leaves out; what is no object is the next step's to refuse."""
    if not isinstance(document, dict):
        return document
    added = {}
    if document.get("id") is None:
        added["id"] = cloudevent_blob_id(attributes["source"], attributes["id"])
    if document.get("created_at") is None and "time" in attributes:
        added["created_at"] = attributes["time"]
    if document.get("user_id") is None:
        added["user_id"] = _user_id(attributes.get("subject"))
    return {**document, **added}


def _user_id(subject: str | None) -> str:
    if subject is None:
        raise InvalidRecord(INVALID_CLOUDEVENT, "subject: is missing, and the data names no user_id; set one of them")
    try:
        return check_id(subject)
    except ValueError as error:
        raise InvalidRecord(INVALID_CLOUDEVENT, f"subject: as a user id it {error}") from None


def _check_is_json(media_type: str | None) -> None:
    if media_type is not None and not _JSON_MEDIA_TYPE.fullmatch(media_type):
        raise InvalidRecord(INVALID_CLOUDEVENT, "datacontenttype: must be JSON, like application/json, or left out")


def _media_type(content_type: bytes | None) -> str | None:
    """Without parameters, in lower case."""
    return None if content_type is None else content_type.decode("utf-8", "replace").partition(";")[0].strip().lower()


def _utf8(name: str, value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        raise InvalidRecord(INVALID_CLOUDEVENT, f"{name}: is no UTF-8") from None


def _ascii(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("ascii")
    except UnicodeDecodeError:
        return None


def _fix(framed: bool) -> str:
    if framed:
        return "behind a schema registry's prefix there must be JSON, not Avro or Protobuf"
    return "send JSON as UTF-8"
