"""What lies around a record's JSON: the framing of schema registries, and where in a trace it stands."""

from typing import Any, Final

import orjson

from schemas.errors import InvalidRecord
from schemas.headers import Headers
from schemas.trace import NO_TRACE, TRACEPARENT, TRACESTATE, Trace, valid_trace

# A registry's serialiser writes a zero and four bytes of the schema's id in front; JSON never begins with a zero byte.
REGISTRY_MAGIC: Final = b"\x00"
REGISTRY_PREFIX_BYTES: Final = 5
CLOUDEVENT_PREFIX: Final = "ce_"


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
    if not headers:
        return NO_TRACE
    found = dict(headers)
    for prefix in ("", CLOUDEVENT_PREFIX):
        if prefix + TRACEPARENT in found:
            parent, state = found[prefix + TRACEPARENT], found.get(prefix + TRACESTATE)
            trace = valid_trace(_ascii(parent), _ascii(state))
            if trace is not NO_TRACE:
                return trace
    return NO_TRACE


def _fix(framed: bool) -> str:
    if framed:
        return "behind a schema registry's prefix there must be JSON, not Avro or Protobuf"
    return "send JSON as UTF-8"


def _ascii(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("ascii")
    except UnicodeDecodeError:
        return None
