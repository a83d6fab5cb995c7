"""Keys and values of the buffer table: a head per project, user and blob type, and an entry per buffered blob."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, NamedTuple

import orjson

from schemas.errors import NewerVersion
from schemas.trace import TRACEPARENT, TRACESTATE, Trace
from schemas.windows import Unit, UnitKey, unit_key
from streams.windowing import Head

STATE_VERSION: Final = 1
_HEAD_FIELDS: Final = tuple(field.name for field in fields(Head))
_head_values: Final = attrgetter(*_HEAD_FIELDS)


class HeadKey(NamedTuple):
    """Whose buffer it is."""

    project_id: str
    user_id: str
    blob_type: str


def head_key_bytes(key: HeadKey) -> bytes:
    return _fitting(orjson.dumps([*key]))


def entry_key_bytes(key: HeadKey, number: int) -> bytes:
    return _fitting(orjson.dumps([*key, number]))


def decode_key(raw: bytes) -> tuple[HeadKey, int | None]:
    """The head's key, and the entry's number or None for the head itself."""
    project_id, user_id, blob_type, *number = orjson.loads(raw)
    return HeadKey(project_id, user_id, blob_type), number[0] if number else None


def encode_head(head: Head) -> bytes:
    # dataclasses.asdict copies every value deeply, and this runs once a message.
    return _fitting(orjson.dumps({"v": STATE_VERSION, **dict(zip(_HEAD_FIELDS, _head_values(head), strict=True))}))


def decode_head(raw: bytes) -> Head:
    """Raises NewerVersion when a newer worker wrote it: this one must stop rather than guess."""
    document = _decode(raw)
    return Head(**{name: document[name] for name in _HEAD_FIELDS})


@dataclass(frozen=True, slots=True)
class Entry:
    """A buffered unit as the document that it is kept as; what was validated on its way in is not built again."""

    unit: Mapping[str, Any]
    size_bytes: int

    @property
    def blob_id(self) -> str:
        return str(self.unit["blob_id"])

    @property
    def key(self) -> UnitKey:
        return unit_key(self.blob_id, self.unit.get("message_index"), self.unit.get("part"))

    @property
    def token_count(self) -> int:
        return int(self.unit["token_count"])

    @property
    def recorded_at_ms(self) -> int:
        return int(self.unit["recorded_at_ms"])

    @property
    def trace(self) -> Trace:
        return Trace(self.unit.get(TRACEPARENT), self.unit.get(TRACESTATE))


def open_entry(raw: bytes) -> Entry:
    """Raises NewerVersion as `decode_head` does."""
    return Entry(_decode(raw)["unit"], len(raw))


def encode_entry(unit: Unit) -> bytes:
    return b'{"v":%d,"unit":%b}' % (STATE_VERSION, unit.model_dump_json(exclude_none=True).encode())


def decode_entry(raw: bytes) -> Unit:
    return Unit.model_validate(_decode(raw)["unit"])


def entry_identity(raw: bytes) -> tuple[str, str]:
    """(blob id, content hash) of an entry, without building its unit."""
    unit: dict[str, str] = _decode(raw)["unit"]
    return unit["blob_id"], unit["content_hash"]


def _decode(raw: bytes) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(raw)
    if document.get("v", 1) > STATE_VERSION:
        raise NewerVersion(f"the buffer's changelog holds v {document['v']}, this worker reads up to {STATE_VERSION}")
    return document


def _fitting(raw: bytes) -> bytes:
    """A copy in as much memory as it needs: what orjson returns is short, but takes 4 KiB for as long as it is kept."""
    return bytes(memoryview(raw))
