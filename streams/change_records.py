"""Records of the change topics as a feed passes them on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson

from schemas.change_feed import ChangeFilter, ChangeTopic
from schemas.changes import EVENT_UPDATED_TYPE, PROFILE_STATE_TYPE, PROFILE_UPDATED_TYPE
from schemas.trace import TRACEPARENT, TRACESTATE
from streams.change_cursor import Place

TYPES: Final[Mapping[ChangeTopic, str]] = {
    "profile-updated": PROFILE_UPDATED_TYPE,
    "event-updated": EVENT_UPDATED_TYPE,
    "profiles": PROFILE_STATE_TYPE,
}
# Attributes of CloudEvents that our headers may carry, in the order in which they are written.
_ATTRIBUTES: Final = ("id", "type", "source", "subject", "time")
# What Python and its containers hold of a record beside its bytes; a guess.
OVERHEAD_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """A change and whose it is. `value` is its JSON as it lies on the topic; None for a tombstone of `profiles`."""

    place: Place
    offset: int
    project_id: str
    user_id: str
    revision: int | None
    committed_ms: int
    value: bytes | None
    attributes: Mapping[str, str]

    @property
    def size_bytes(self) -> int:
        return len(self.value or b"") + OVERHEAD_BYTES

    def document(self) -> bytes:
        """The change as a CloudEvent in structured mode: its attributes, and the value under `data`."""
        attributes = {"specversion": "1.0", **self.attributes}
        if self.value is None:
            return orjson.dumps(attributes)
        head = orjson.dumps({**attributes, "datacontenttype": "application/json"})
        return b'%b,"data":%b}' % (head[:-1], self.value)


def read_change(
    place: Place,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
) -> ChangeRecord | None:
    """None for a record that is no change; only one whose key and value name the same user counts."""
    try:
        change = None if value is None else orjson.loads(value)
        project_id, slash, user_id = (key or b"").decode().partition("/")
    except ValueError:
        return None
    if not slash or not (place[0] == "profiles" if value is None else _is_change(change, project_id, user_id)):
        return None
    return ChangeRecord(
        place=place,
        offset=offset,
        project_id=project_id,
        user_id=user_id,
        revision=None if change is None else change["revision"],
        committed_ms=timestamp_ms if change is None else change["ts_ms"],
        value=value,
        attributes=_attributes(place, offset, project_id, user_id, headers),
    )


def wants(wanted: ChangeFilter, record: ChangeRecord) -> bool:
    """Whether a reader with this filter gets the record."""
    return (
        record.project_id == wanted.project_id
        and record.place[0] in wanted.topics
        and (not wanted.user_ids or record.user_id in wanted.user_ids)
    )


def _is_change(change: Any, project_id: str, user_id: str) -> bool:
    return (
        isinstance(change, dict)
        and (change.get("project_id"), change.get("user_id")) == (project_id, user_id)
        and type(change.get("revision")) is int
        and type(change.get("ts_ms")) is int
    )


def _attributes(
    place: Place, offset: int, project_id: str, user_id: str, headers: Sequence[tuple[str, bytes | None]]
) -> Mapping[str, str]:
    sent = {name: text.decode("utf-8", "replace") for name, text in headers if text is not None}
    usual = {
        # Debezium's outbox router puts it there, in our relay's place.
        "id": sent.get("id") or "/".join(map(str, (*place, offset))),
        "type": TYPES[place[0]],
        "source": f"/memostream/{quote(project_id, safe='')}",
        "subject": user_id,
    }
    named = {name: sent.get(f"ce_{name}") or usual.get(name) for name in _ATTRIBUTES}
    named |= {name: sent.get(name) for name in (TRACEPARENT, TRACESTATE)}
    return {name: text for name, text in named.items() if text is not None}
