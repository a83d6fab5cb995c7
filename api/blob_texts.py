"""Texts of blobs: from Postgres where they are kept or held, else from their topic."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from api.errors import ApiError
from api.finding import Located, locate
from api.models.blobs import StoredBlob
from api.scope import Scope
from schemas.blob_states import MEANINGS
from schemas.errors import RetryLater
from schemas.identity import content_hash
from schemas.sought_blobs import SoughtBlob, likely_positions
from schemas.windows import Position
from storage.units import WHOLE

# A blob without its ids, when it was said, and when Kafka took it.
Content = tuple[Mapping[str, Any], datetime, datetime]


async def read_blob(scope: Scope, user_id: str, blob_id: str) -> StoredBlob:
    """The blob as it was sent. Raises ApiError (404) where its text is nowhere any more, and RetryLater."""
    located = await locate(scope, user_id, blob_id)
    content, said_at, taken_at = _at_hand(located) or await _from_topic(scope, user_id, blob_id, located)
    return StoredBlob(
        id=blob_id,
        blob_type=content["blob_type"],
        blob_data=content["blob_data"],
        fields=content.get("fields"),
        created_at=said_at,
        updated_at=taken_at,
        state=located.waited.state,
        reason=located.waited.reason,
    )


def _at_hand(located: Located) -> Content | None:
    """From Postgres: the text that is kept, or that of a held window, where it is the whole blob."""
    if located.rows and located.kept:
        row, first = located.rows[0], located.kept[0]
        content = whole_content([(piece.message_index, piece.part, piece.content) for piece in located.kept])
        if content_hash(content) == row.content_hash:
            # What was imported from Memobase lies on no topic.
            taken = row.origin or row.position
            return content, first.occurred_at, row.recorded_at if taken is None else _moment(taken)
    if located.moving is not None and located.moving.units:
        units = located.moving.units
        content = whole_content([(*unit.key[1:], unit.content) for unit in units])
        if content_hash(content) == units[0].content_hash:
            return content, units[0].occurred_at, _moment(units[0].first_position)
    return None


def whole_content(pieces: Sequence[tuple[int, int, Mapping[str, Any]]]) -> Mapping[str, Any]:
    """A blob put together again of its pieces (message, part, content); whether none is missing, its hash says."""
    for index, _, content in pieces:
        if index == WHOLE:
            return content
    first = pieces[0][2]
    name = next((name for name in ("messages", "transcripts") if name in first["blob_data"]), None)
    if name is None:
        texts = "".join(_text_of(content) for _, _, content in sorted(pieces, key=lambda piece: piece[:2]))
        data = dict(first["blob_data"])
        data["summary" if "summary" in data else "content"] = texts
        return {**first, "blob_data": data}
    items: dict[int, dict[str, Any]] = {}
    for index, _, content in sorted(pieces, key=lambda piece: piece[:2]):
        item = content["blob_data"][name][0]
        known = items.get(index)
        items[index] = dict(item) if known is None else {**known, "content": known["content"] + item["content"]}
    return {**first, "blob_data": {**first["blob_data"], name: [items[index] for index in sorted(items)]}}


async def _from_topic(scope: Scope, user_id: str, blob_id: str, located: Located) -> Content:
    sought = _sought(scope, user_id, blob_id, located)
    if sought is None:
        raise _text_gone(located)
    found = (await scope.gateway.texts.read([sought]))[sought]
    if found.unit is None:
        if found.absence == "unanswered":
            raise RetryLater("the topic cannot be read")
        raise _text_gone(located)
    return found.unit.content, found.unit.occurred_at, _moment(found.unit.first_position)


def _sought(scope: Scope, user_id: str, blob_id: str, located: Located) -> SoughtBlob | None:
    row = next((row for row in located.rows if row.position is not None), None)
    moving = located.moving
    if row is not None and row.position is not None and row.content_hash is not None:
        positions, digest = likely_positions(row.position, row.origin), row.content_hash
    elif moving is not None:
        positions, digest = (moving.position,), moving.content_hash
    else:
        return None
    return SoughtBlob(scope.project_id, user_id, blob_id, digest, positions)


def _text_gone(located: Located) -> ApiError:
    state = located.waited.state
    return ApiError(404, f"the text of this blob is not kept any more; the blob is {state}: {MEANINGS[state]}")


def _moment(position: Position) -> datetime:
    return datetime.fromtimestamp(max(0, position.timestamp_ms) / 1000, UTC)


def _text_of(content: Mapping[str, Any]) -> str:
    data = content["blob_data"]
    return str(data.get("summary", data.get("content", "")))
