"""What a call that inserts becomes: a record for Kafka with an id, or nothing to send."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from api.errors import ApiError
from api.idempotency import keyed_id
from api.models.blobs import BlobBody
from schemas.records import Blob, Command, parse_record
from storage.units import UnitBook

# Lists that Memobase takes empty, and one item that makes the rest of the blob be looked at.
_LISTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "chat": ("messages", {"role": "user", "content": ""}),
    "transcript": ("transcripts", {"content": "", "start_timestamp_in_seconds": 0}),
}


@dataclass(frozen=True, slots=True)
class Insertion:
    """A blob that was checked. `is_named` where its caller chose the id; `is_empty` where there is nothing to send."""

    blob: Blob
    blob_id: str
    is_named: bool
    is_empty: bool


def insertion_of(body: BlobBody, project_id: str, user_id: str, key: str | None, fresh: UUID) -> Insertion:
    """Raises InvalidRecord, which names the field, and ApiError for a key that is none.

    An id in the body is stronger than the header: it is the blob's own.
    """
    blob_id = body.id or (str(fresh) if key is None else keyed_id(key, "idempotency", project_id, user_id))
    data = body.blob_data
    name, item = _LISTS.get(body.blob_type, ("", {}))
    is_empty = bool(name) and data.get(name) == []
    document = {
        "id": blob_id,
        "project_id": project_id,
        "user_id": user_id,
        "blob_type": body.blob_type,
        "blob_data": {**data, name: [item]} if is_empty else data,
        "fields": body.fields,
        "created_at": body.created_at,
        "session_id": body.session_id,
    }
    blob = parse_record(document)
    if isinstance(blob, Command):
        raise TypeError("a body holds no command")
    return Insertion(blob, blob_id, body.id is not None or key is not None, is_empty)


def conflict_of(insertion: Insertion, book: UnitBook, buffered_hash: str | None) -> ApiError | None:
    """Why the id cannot be used again, as far as it is known; what is not known yet is parked as `id-conflict`."""
    if book.is_erased(insertion.blob_id):
        return ApiError(409, "id: a blob with this id was deleted; a new one needs a new id")
    own = insertion.blob.content_hash()
    hashes = {row.content_hash for row in book.rightful(insertion.blob_id)}
    if buffered_hash is not None:
        hashes.add(buffered_hash)
    if hashes - {own, None}:
        return ApiError(409, "id: another blob with this id and other content came before; change one id")
    return None
