"""A conversation of ChatGPT's export (`conversations.json`) as exchanges. Pure.

A conversation there is a tree: each edit and each answer that was made anew is a branch of it. What counts is the
branch that its owner saw last, which ends at `current_node`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from schemas.errors import InvalidRecord

INVALID: Final = "invalid-conversation"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Others hold code that was run, web pages that were read, thoughts, and settings.
_SPOKEN: Final = ("text", "multimodal_text")


class Said(NamedTuple):
    role: str
    text: str
    at: datetime | None


def is_conversation(document: Mapping[str, Any]) -> bool:
    return isinstance(document.get("mapping"), dict)


def exchanges(conversation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records of chat-messages without user and id: what was said and its answer, each with the time of the first word.

    A conversation may go on for months, so it is no single record. Left out are system and tool messages, hidden ones
    and those without text. Raises InvalidRecord for a tree that cannot be walked.
    """
    session_id = conversation.get("conversation_id") or conversation.get("id")
    if session_id is not None and not isinstance(session_id, str):
        raise InvalidRecord(INVALID, "id: must be text")
    begun = _time(conversation.get("create_time"), "create_time")
    records = []
    for said in _in_exchanges(list(_spoken(_branch(conversation)))):
        at = next((one.at for one in said if one.at is not None), begun)
        begun = at or begun
        record: dict[str, Any] = {
            "blob_type": "chat",
            "session_id": session_id,
            "created_at": None if at is None else at.isoformat(),
            "blob_data": {"messages": [_message(one) for one in said]},
        }
        records.append({name: value for name, value in record.items() if value is not None})
    return records


def _branch(conversation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    nodes = conversation["mapping"]
    node_id = conversation.get("current_node")
    if node_id is None:
        leaves = [key for key, node in nodes.items() if not (isinstance(node, dict) and node.get("children"))]
        node_id = max(leaves, key=lambda key: _moment(nodes[key]), default=None)
    found: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    while node_id is not None:
        node = nodes.get(node_id) if isinstance(node_id, str) else None
        if not isinstance(node, dict) or node_id in seen:
            raise InvalidRecord(INVALID, "mapping: a parent is not there, or its own child; export it once more")
        seen.add(node_id)
        found.append(node)
        node_id = node.get("parent")
    found.reverse()
    return found


def _moment(node: Any) -> float:
    message = node.get("message") if isinstance(node, dict) else None
    at = message.get("create_time") if isinstance(message, dict) else None
    return float(at) if isinstance(at, int | float) else 0.0


def _spoken(branch: Sequence[Mapping[str, Any]]) -> Iterator[Said]:
    for node in branch:
        message = node.get("message")
        if not isinstance(message, dict):
            continue
        author, content, about = (_object(message.get(name)) for name in ("author", "content", "metadata"))
        role = author.get("role")
        # An assistant's message to somebody else is a call of a tool.
        is_said = role == "user" or (role == "assistant" and message.get("recipient") in (None, "all"))
        is_hidden = bool(about.get("is_visually_hidden_from_conversation"))
        if is_hidden or not is_said or content.get("content_type") not in _SPOKEN:
            continue
        text = "\n".join(_texts(content.get("parts")))
        if text:
            yield Said(str(role), text, _time(message.get("create_time"), "message.create_time"))


def _texts(parts: Any) -> Iterator[str]:
    for part in parts if isinstance(parts, list) else ():
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str) and text.strip():
            yield text


def _in_exchanges(said: Sequence[Said]) -> Iterator[list[Said]]:
    exchange: list[Said] = []
    for one in said:
        if one.role == "user" and exchange and exchange[-1].role == "assistant":
            yield exchange
            exchange = []
        exchange.append(one)
    if exchange:
        yield exchange


def _message(said: Said) -> dict[str, str]:
    message = {"role": said.role, "content": said.text}
    return message if said.at is None else {**message, "created_at": said.at.isoformat()}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _time(value: Any, name: str) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRecord(INVALID, f"{name}: must be a number of seconds since 1970")
    try:
        return _EPOCH + timedelta(milliseconds=round(value * 1000))
    except (OverflowError, ValueError):
        raise InvalidRecord(INVALID, f"{name}: is outside the years 1 to 9999") from None
