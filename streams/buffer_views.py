"""One user's part of a partition's committed state, as others are shown it: ids, places and hashes, but no text."""

import orjson

from schemas.buffer_views import BufferedBlob
from schemas.records import BLOB_TYPES
from streams.buffer_codec import HeadKey, decode_head, entry_key_bytes, head_key_bytes
from streams.buffer_memory import User
from streams.buffer_store import PartitionStore


def buffered_blobs(store: PartitionStore, user: User) -> tuple[BufferedBlob, ...]:
    """All blobs of a user that the store holds, the oldest record first.

    Read from the store and not from the state in memory, which runs ahead of what is committed.
    """
    found: list[BufferedBlob] = []
    for blob_type in BLOB_TYPES:
        key = HeadKey(user.project_id, user.user_id, blob_type)
        raw_head = store.get(head_key_bytes(key))
        if raw_head is None:
            continue
        head = decode_head(raw_head)
        for number in range(head.first_entry, head.next_entry):
            raw = store.get(entry_key_bytes(key, number))
            if raw is None:
                raise LookupError(f"entry {number} of a head with {head.count} is missing")
            found.append(_blob(raw, blob_type))
    return tuple(sorted(found, key=lambda blob: blob.position.offset))


def _blob(raw: bytes, blob_type: str) -> BufferedBlob:
    # A unit and its content would be built for nothing.
    return BufferedBlob.model_validate({**orjson.loads(raw)["unit"], "blob_type": blob_type})
