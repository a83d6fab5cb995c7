"""Units seen as messages: the one text form that tokens are counted of and that models read."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from schemas.windows import MessageId, Unit


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; `said_at` is the producer's own free text, `occurred_at` the time that counts."""

    message_id: MessageId
    role: str
    content: str
    occurred_at: datetime
    alias: str | None = None
    said_at: str | None = None
    session_id: str | None = None

    def render(self) -> str:
        """`[2026/11/20] Ann(user): text`, the line form that Memobase's users know."""
        when = self.said_at or self.occurred_at.strftime("%Y/%m/%d")
        speaker = f"{self.alias}({self.role})" if self.alias else self.role
        return f"[{when}] {speaker}: {self.content}"


def message_id(blob_id: str, index: int) -> MessageId:
    """`<blob id>/<index of the message in its blob>`; other blob types count as one message, index 0."""
    return MessageId(f"{blob_id}/{index}")


def messages_of(unit: Unit) -> list[Message]:
    """The messages of a unit in their order; an image has none, for it holds no text."""
    first = unit.message_index or 0
    session_id = unit.content.get("session_id")
    messages = []
    for index, (role, text, alias, said_at) in enumerate(_texts(unit), start=first):
        identifier = message_id(unit.blob_id, index)
        messages.append(Message(identifier, role, text, unit.occurred_at, alias, said_at, session_id))
    return messages


def conversation_of(units: Iterable[Unit]) -> list[Message]:
    """All messages of the units, in the order given."""
    return [message for unit in units for message in messages_of(unit)]


def _texts(unit: Unit) -> list[tuple[str, str, str | None, str | None]]:
    data = unit.content["blob_data"]
    match unit.content["blob_type"]:
        case "chat":
            return [
                (item["role"], item["content"], item.get("alias"), item.get("created_at")) for item in data["messages"]
            ]
        case "summary":
            return [("summary", data["summary"], None, None)]
        case "transcript":
            return [("transcript", line["content"], line.get("speaker"), None) for line in data["transcripts"]]
        case "doc" | "code" as blob_type:
            return [(blob_type, data["content"], None, None)]
        case _:
            return []
