"""From a decoded record of somebody else's topic to blobs, by the expressions of its source. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from schemas.mapping import role_word
from schemas.mapping_fields import (
    MAPPING_FAILED,
    TOO_LARGE,
    CompiledSource,
    Overgrown,
    Refused,
    Room,
    is_true,
    kind_of,
    listed,
    required_text,
    search,
    text_or_none,
    time_text,
)
from schemas.records import BLOB_TYPES, DEFAULT_PROJECT_ID, Blob

# The id of an item by its place in what `each` yielded.
BlobId = Callable[[int | None], str]

_BLOB: Final[TypeAdapter[Any]] = TypeAdapter(Blob)
# The field of a message in the record, and the expression that it comes from.
_MESSAGE_FIELDS: Final = {"created_at": "message_created_at"}


@dataclass(frozen=True, slots=True)
class MappedBlob:
    """A blob, and the value that is sent; `item` is its place in what `each` yielded, None without `each`."""

    item: int | None
    blob: Blob
    value: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record, or one item of it, could not be mapped.

    `detail` quotes nothing of the record. `found` is what the expression yielded; it is for the operator's own eyes.
    """

    field: str
    expression: str | None
    detail: str
    reason: str = MAPPING_FAILED
    item: int | None = None
    found: Any = None


@dataclass(frozen=True, slots=True)
class MappedRecord:
    """What became of one record. `ignored` counts what the mapping leaves out on purpose, by what left it out."""

    blobs: Sequence[MappedBlob] = ()
    refusals: Sequence[Refusal] = ()
    ignored: Counter[str] = field(default_factory=Counter)


def map_document(
    document: Mapping[str, Any], mapping: CompiledSource, blob_id: BlobId | None, max_blob_bytes: int
) -> MappedRecord:
    """The blobs of one record; `blob_id` gives the id of the item where none is mapped, None leaves it out.

    An item that fails takes no other with it.
    """
    blobs: list[MappedBlob] = []
    refusals: list[Refusal] = []
    ignored: Counter[str] = Counter()
    room = Room(max_blob_bytes)
    try:
        if "where" in mapping.expressions and not is_true(search(mapping, "where", document)):
            return MappedRecord(ignored=Counter(["where"]))
        items = _items(mapping, document)
        if not items:
            ignored["each"] += 1
        for index, item in items:
            try:
                blob = _map_item({**document, "item": item}, mapping, index, blob_id, room)
                if blob is None:
                    ignored["messages"] += 1
                else:
                    blobs.append(MappedBlob(index, blob, _encoded(blob, max_blob_bytes)))
            except Overgrown:
                raise
            except Refused as refused:
                refusals.append(_refusal(mapping, refused, index))
    except Refused as refused:
        return MappedRecord(refusals=[_refusal(mapping, refused, None)])
    return MappedRecord(blobs, refusals, ignored)


def _items(mapping: CompiledSource, document: Mapping[str, Any]) -> list[tuple[int | None, Any]]:
    if "each" not in mapping.expressions:
        return [(None, document["value"])]
    return list(enumerate(listed(mapping, "each", document)))


def _map_item(
    document: Mapping[str, Any],
    mapping: CompiledSource,
    item: int | None,
    blob_id: BlobId | None,
    room: Room,
) -> Blob | None:
    """The blob, or None if all its messages are left out; raises Refused."""
    defaults = mapping.source.defaults
    envelope: dict[str, Any] = {"user_id": required_text(mapping, "user_id", document)}
    envelope["project_id"] = text_or_none(mapping, "project_id", document) or defaults.project_id or DEFAULT_PROJECT_ID
    envelope["id"] = text_or_none(mapping, "id", document) or (None if blob_id is None else blob_id(item))
    envelope["session_id"] = text_or_none(mapping, "session_id", document) or defaults.session_id
    envelope["created_at"] = time_text(mapping, "created_at", document)
    fields = search(mapping, "fields", document)
    envelope["fields"] = defaults.fields if fields is None else fields
    blob_type = text_or_none(mapping, "blob_type", document) or defaults.blob_type
    if blob_type not in BLOB_TYPES:
        raise Refused("blob_type", f"must be one of {', '.join(BLOB_TYPES)}", blob_type)
    data = _blob_data(mapping, document, blob_type, room)
    if data is None:
        return None
    mapped = {**envelope, "blob_type": blob_type, "blob_data": data}
    room.take_bytes(_size_bytes(mapped, room.max_bytes))
    try:
        blob: Blob = _BLOB.validate_python(mapped)
    except ValidationError as error:
        raise _refused_by_model(mapping, error) from None
    return blob


def _size_bytes(mapped: Mapping[str, Any], otherwise: int) -> int:
    """As JSON; `otherwise` where it is none, as nested too deep. Far quicker than what comes after."""
    try:
        return len(orjson.dumps(mapped))
    except TypeError:
        return otherwise


def _blob_data(mapping: CompiledSource, document: Mapping[str, Any], blob_type: str, room: Room) -> Any:
    if "blob_data" in mapping.expressions:
        data = search(mapping, "blob_data", document)
        if data is None:
            raise Refused("blob_data", "yields nothing")
        return data
    if blob_type == "chat":
        messages = _messages(mapping, document, room)
        return {"messages": messages} if messages else None
    if blob_type not in ("doc", "code", "summary"):
        raise Refused("blob_type", f"blobs of type {blob_type} need blob_data in place of content")
    content = _content(mapping, {**document, "message": document["item"]})
    return {"summary" if blob_type == "summary" else "content": content}


def _messages(mapping: CompiledSource, document: Mapping[str, Any], room: Room) -> list[dict[str, Any]]:
    is_list = "messages" in mapping.expressions
    found = listed(mapping, "messages", document) if is_list else [document["item"]]
    room.take_messages(len(found))
    messages = []
    for index, message in enumerate(found):
        try:
            mapped = _message(mapping, {**document, "message": message})
        except Refused as refused:
            if is_list:
                refused.problem = f"{refused.problem} (message {index})"
            raise
        if mapped is not None:
            messages.append(mapped)
    return messages


def _message(mapping: CompiledSource, document: Mapping[str, Any]) -> dict[str, Any] | None:
    role = _role(mapping, document)
    if role == "drop":
        return None
    return {
        "role": role,
        "content": _content(mapping, document),
        "alias": text_or_none(mapping, "alias", document) or mapping.source.defaults.alias,
        "created_at": time_text(mapping, "message_created_at", document),
    }


def _role(mapping: CompiledSource, document: Mapping[str, Any]) -> str:
    roles = mapping.source.roles
    found = search(mapping, "role", document)
    if found is None:
        if mapping.source.defaults.role is None:
            raise Refused("role", "yields nothing; map another field, or set defaults.role")
        return mapping.source.defaults.role
    word = role_word(found)
    if not isinstance(word, str):
        raise Refused("role", f"yields {kind_of(found)}, must be a word", found)
    role = roles.get(word, word)
    if role not in ("user", "assistant", "drop"):
        known = f"no word of roles ({', '.join(roles)})" if roles else "neither user nor assistant"
        raise Refused("role", f"yields {known}; add the word to roles, as user, assistant or drop", found)
    return role


def _content(mapping: CompiledSource, document: Mapping[str, Any]) -> str:
    content = search(mapping, "content", document)
    if content is None:
        raise Refused("content", "yields nothing; map another field, or filter such messages out")
    if not isinstance(content, str):
        raise Refused(
            "content", f"yields {kind_of(content)}, must be text; join() or to_string() may make it so", content
        )
    return content


def _encoded(blob: Blob, max_blob_bytes: int) -> bytes:
    try:
        value = orjson.dumps(blob.model_dump(mode="json", exclude_none=True))
    except (TypeError, RecursionError):
        # A sum that no 64 bits hold, for one.
        raise Refused("fields", "cannot be written as JSON") from None
    if len(value) > max_blob_bytes:
        problem = f"the mapped record has {len(value)} bytes, buffer.max_blob_bytes is {max_blob_bytes}"
        raise Refused("content", problem, reason=TOO_LARGE)
    return value


def _refused_by_model(mapping: CompiledSource, error: ValidationError) -> Refused:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = [part for part in first["loc"] if part not in BLOB_TYPES] or ["blob_data"]
    name = str(path[0])
    if name == "blob_data" and "blob_data" not in mapping.expressions:
        last = str(path[-1])
        name = _MESSAGE_FIELDS.get(last, last)
    where = f"{'.'.join(str(part) for part in path)} " if name == "blob_data" else ""
    return Refused(name, where + first["msg"].removeprefix("Value error, "))


def _refusal(mapping: CompiledSource, refused: Refused, item: int | None) -> Refusal:
    expression = mapping.expressions.get(refused.field)
    return Refusal(
        field=refused.field,
        expression=None if expression is None else expression.text,
        detail=f"{refused.field}: {refused.problem}",
        reason=refused.reason,
        item=item,
        found=refused.found,
    )
