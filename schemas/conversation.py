"""Units seen as messages: the one text form that tokens are counted of and that models read."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from schemas.images import Image, image_of
from schemas.windows import MessageId, Unit

# Both as long, so that every part of a split text takes the same room around it.
_FENCES: Final = ("```", "~~~")
_NO_LANGUAGE_NAME: Final = re.compile(r"[^\w+#.-]")
_MAX_LANGUAGE_CHARACTERS: Final = 32
# As long a recording as is told in hours; what is longer was sent in another unit.
_MAX_OFFSET_S: Final = 1e9


class Message(NamedTuple):
    """One message of a conversation; `said_at` is the producer's own free text, `occurred_at` the time that counts.

    `role` is user or assistant in a chat, else the blob's type. `offset_s` is how far into a recording it was said.
    `image` is the message's only content, where there is one.
    """

    message_id: MessageId
    role: str
    content: str
    occurred_at: datetime
    alias: str | None = None
    said_at: str | None = None
    session_id: str | None = None
    offset_s: float | None = None
    language: str | None = None
    image: Image | None = None

    def render(self) -> str:
        """`[2026/11/20] Ann(user): text`, the line form that Memobase's users know; code stands between fences."""
        when = self.said_at or _day(self.occurred_at.date())
        if self.offset_s is not None:
            when = f"{when} {_clock(self.offset_s)}"
        speaker = f"{self.alias}({self.role})" if self.alias else self.role
        return f"[{when}] {speaker}: {self._body()}"

    def _body(self) -> str:
        if self.role != "code":
            return self.content
        fence = next((mark for mark in _FENCES if mark not in self.content), _FENCES[0])
        language = _NO_LANGUAGE_NAME.sub("", self.language or "")[:_MAX_LANGUAGE_CHARACTERS]
        return f"\n{fence}{language}\n{self.content}\n{fence}"


@lru_cache(maxsize=1024)
def _day(date: date) -> str:
    return date.strftime("%Y/%m/%d")


def message_id(blob_id: str, index: int) -> MessageId:
    """`<blob id>/<index of the message in its blob>`; other blob types count as one message, index 0."""
    return MessageId(f"{blob_id}/{index}")


def messages_of(unit: Unit) -> list[Message]:
    """The messages of a unit in their order; that of an image has no text."""
    occurred_at, session_id = unit.occurred_at, unit.content.get("session_id")
    return [
        Message(message_id(unit.blob_id, index), role, content, occurred_at, session_id=session_id, **more)
        for index, (role, content, more) in enumerate(_said(unit.content), start=unit.message_index or 0)
    ]


def conversation_of(units: Iterable[Unit]) -> list[Message]:
    """All messages of the units, in the order given."""
    return [message for unit in units for message in messages_of(unit)]


def _said(blob: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Role, content, and what else is told of each message."""
    data = blob["blob_data"]
    match blob["blob_type"]:
        case "chat":
            for item in data["messages"]:
                yield item["role"], item["content"], {"alias": item.get("alias"), "said_at": item.get("created_at")}
        case "summary":
            yield "summary", data["summary"], {}
        case "transcript":
            for line in data["transcripts"]:
                offset_s = _offset_s(line.get("start_timestamp_in_seconds"))
                yield "transcript", line["content"], {"alias": line.get("speaker"), "offset_s": offset_s}
        case "doc":
            yield "doc", data["content"], {}
        case "code":
            yield "code", data["content"], {"language": data.get("language")}
        case "image":
            yield "image", "", {"image": image_of(data)}


def _offset_s(seconds: float | None) -> float | None:
    # JSON has no way to write what is no number, and null is what became of it.
    return seconds if seconds is not None and math.isfinite(seconds) and 0 <= seconds <= _MAX_OFFSET_S else None


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"+{hours}:{minute:02}:{second:02}"
