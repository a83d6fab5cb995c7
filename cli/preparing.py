"""From a line of JSON to a record of `chat-messages`: checked, with an id, ready to send. Pure."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.errors import InvalidRecord
from schemas.identity import content_blob_id
from schemas.records import DEFAULT_PROJECT_ID, Command, parse_record


@dataclass(frozen=True, slots=True)
class PreparedRecord:
    """A record as it is sent; the key is the user id, which also decides the partition."""

    key: bytes
    value: bytes


class Preparer:
    """Checks the records of one input and gives an id to those that have none.

    The id follows from user, time, content and `ordinal`, the count of equal records before it in this input: the
    same input always has the same ids, and a word that is said twice in it stays two records.
    """

    def __init__(self, *, project_id: str | None, max_blob_bytes: int) -> None:
        self._project_id = project_id
        self._max_blob_bytes = max_blob_bytes
        self._seen: Counter[str] = Counter()

    def prepare(self, line: bytes) -> PreparedRecord:
        """Raises InvalidRecord with the reason for which the buffer agent would park it."""
        document = self._decoded(line)
        if isinstance(document, dict) and self._project_id is not None:
            document.setdefault("project_id", self._project_id)
        record = parse_record(document)
        if record.id is None and not isinstance(record, Command):
            project_id = document.get("project_id", DEFAULT_PROJECT_ID)
            content = orjson.dumps(record.content(), option=orjson.OPT_SORT_KEYS)
            created_at = "" if record.created_at is None else record.created_at.isoformat()
            first = content_blob_id(project_id, record.user_id, created_at, content, 0)
            ordinal = self._seen[first]
            self._seen[first] += 1
            document["id"] = content_blob_id(project_id, record.user_id, created_at, content, ordinal)
        value = orjson.dumps(document)
        if len(value) > self._max_blob_bytes:
            raise InvalidRecord(
                "too-large", f"the record has {len(value)} bytes, buffer.max_blob_bytes is {self._max_blob_bytes}"
            )
        return PreparedRecord(record.user_id.encode(), value)

    def _decoded(self, line: bytes) -> Any:
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
