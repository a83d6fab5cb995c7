"""From a line of JSON to a record of `chat-messages`: checked, with an id, ready to send. Pure."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from schemas.errors import InvalidRecord
from schemas.identity import content_blob_id
from schemas.records import Blob, Command, parse_record


@dataclass(frozen=True, slots=True)
class PreparedRecord:
    """A record as it is sent; the key is the user id, which also decides the partition."""

    key: bytes
    value: bytes
    record: Blob | Command


class Ordinal(Protocol):
    """How many records of the same first id came before in this input."""

    def __call__(self, first_id: str, /) -> int: ...


class Preparer:
    """Checks the records of one input and gives an id to those that have none.

    The id follows from user, time, content and the ordinal among equal records of this input: the same input always has
    the same ids, and a word that is said twice in it stays two records. `project_id` and `user_id` are for records that
    name none.
    """

    def __init__(
        self,
        *,
        project_id: str | None,
        max_blob_bytes: int,
        user_id: str | None = None,
        ordinal: Ordinal | None = None,
    ) -> None:
        self._owner = {
            name: value for name, value in (("project_id", project_id), ("user_id", user_id)) if value is not None
        }
        self._max_blob_bytes = max_blob_bytes
        self._ordinal = ordinal or _CountedInMemory()

    def prepare(self, line: bytes) -> PreparedRecord:
        """Raises InvalidRecord with the reason for which the buffer agent would park it."""
        return self.prepare_document(decoded_line(line))

    def prepare_document(self, document: Any) -> PreparedRecord:
        """The same for a line that is decoded already; a record without an id gets one in the document itself."""
        if isinstance(document, dict):
            for name, value in self._owner.items():
                document.setdefault(name, value)
        record = parse_record(document)
        if record.id is None and not isinstance(record, Command):
            document["id"] = self._derived_id(record)
        try:
            encoded = orjson.dumps(document)
        except TypeError:
            raise InvalidRecord("invalid-record", "it cannot be written as JSON") from None
        if len(encoded) > self._max_blob_bytes:
            raise InvalidRecord(
                "too-large", f"the record has {len(encoded)} bytes, buffer.max_blob_bytes is {self._max_blob_bytes}"
            )
        return PreparedRecord(record.user_id.encode(), encoded, record)

    def _derived_id(self, record: Blob) -> str:
        content = orjson.dumps(record.content(), option=orjson.OPT_SORT_KEYS)
        created_at = "" if record.created_at is None else record.created_at.isoformat()
        described = (record.project_id, record.user_id, created_at, content)
        first_id = content_blob_id(*described, 0)
        ordinal = self._ordinal(first_id)
        return content_blob_id(*described, ordinal) if ordinal else first_id


class _CountedInMemory:
    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def __call__(self, first_id: str, /) -> int:
        ordinal = self._seen[first_id]
        self._seen[first_id] += 1
        return ordinal


def decoded_line(line: bytes) -> Any:
    """Raises InvalidRecord with reason `invalid-utf8` or `invalid-json`."""
    try:
        return orjson.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidRecord("invalid-utf8", f"byte {error.start} is no UTF-8") from None
    except orjson.JSONDecodeError as error:
        raise InvalidRecord("invalid-json", f"column {error.colno} is no JSON") from None


def message_record(
    text: str,
    *,
    user_id: str,
    role: str,
    assistant: str | None,
    session_id: str | None,
    created_at: str,
) -> bytes:
    """The line of one message, with the assistant's reply behind it if there is one."""
    messages = [{"role": role, "content": text}]
    if assistant is not None:
        messages.append({"role": "assistant", "content": assistant})
    record: dict[str, Any] = {
        "user_id": user_id,
        "blob_type": "chat",
        "created_at": created_at,
        "blob_data": {"messages": messages},
    }
    if session_id is not None:
        record["session_id"] = session_id
    return orjson.dumps(record)
