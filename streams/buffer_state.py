"""The buffer of one partition: committed state in a store, uncommitted changes in an overlay, an index of ids."""

from collections import defaultdict

from schemas.windows import Unit
from streams.buffer_codec import (
    Entry,
    HeadKey,
    decode_head,
    decode_key,
    encode_head,
    entry_identity,
    entry_key_bytes,
    head_key_bytes,
    open_entry,
)
from streams.buffer_store import PartitionStore
from streams.windowing import Head


class PartitionState:
    """Changes are visible at once and gathered in `pending`; the store takes them only after the commit.

    `touched` holds the keys that grew since the last commit.

    After a failed commit the state is thrown away and loaded again. The cost of a message does not grow with what is
    buffered: heads and ids are looked up in memory, entries are read only when their window closes.
    """

    def __init__(self, store: PartitionStore) -> None:
        self._store = store
        self._heads: dict[HeadKey, Head] = {}
        self._hashes: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        self.pending: dict[bytes, bytes | None] = {}
        self.touched: set[HeadKey] = set()
        self._index()

    @property
    def heads(self) -> dict[HeadKey, Head]:
        return self._heads

    def head(self, key: HeadKey) -> Head | None:
        return self._heads.get(key)

    def buffered_hash(self, project_id: str, user_id: str, blob_id: str) -> str | None:
        """Content hash of a blob that is buffered now, of whatever type; None if it is not."""
        return self._hashes[project_id, user_id].get(blob_id) if (project_id, user_id) in self._hashes else None

    def append(self, key: HeadKey, head: Head, unit: Unit, entry: bytes) -> None:
        """Buffer `unit` as the newest entry of `head`, which counts it already."""
        self._heads[key] = head
        self.touched.add(key)
        self._hashes[key.project_id, key.user_id][unit.blob_id] = unit.content_hash
        self.pending[entry_key_bytes(key, head.next_entry - 1)] = entry
        self.pending[head_key_bytes(key)] = encode_head(head)

    def take(self, key: HeadKey) -> list[Entry]:
        """Remove a user's buffer and return what it held, in order."""
        head = self._heads.pop(key, None)
        if head is None:
            return []
        user = key.project_id, key.user_id
        entries = []
        for number in range(head.first_entry, head.next_entry):
            entry_key = entry_key_bytes(key, number)
            raw = self.pending.get(entry_key) or self._store.get(entry_key)
            if raw is None:
                raise LookupError(f"entry {number} of a head with {head.count} is missing")
            entry = open_entry(raw)
            self._hashes[user].pop(entry.blob_id, None)
            self.pending[entry_key] = None
            entries.append(entry)
        if not self._hashes[user]:
            del self._hashes[user]
        self.pending[head_key_bytes(key)] = None
        return entries

    def user_keys(self, project_id: str, user_id: str, blob_types: tuple[str, ...]) -> list[HeadKey]:
        """Keys of what is buffered of a user, in the order of `blob_types`."""
        keys = (HeadKey(project_id, user_id, blob_type) for blob_type in blob_types)
        return [key for key in keys if key in self._heads]

    def commit(self, next_offset: int, clean_offset: int | None = None) -> None:
        """Hand the pending changes to the store; `next_offset` follows the last changelog record of them.

        `clean_offset` as `PartitionStore.write` takes it.
        """
        self._store.write(self.pending, next_offset, clean_offset)
        self.pending = {}
        self.touched = set()

    def close(self) -> None:
        self._store.close()

    def _index(self) -> None:
        entries: list[tuple[HeadKey, int, bytes, bytes]] = []
        for raw_key, raw in self._store.items():
            key, number = decode_key(raw_key)
            if number is None:
                self._heads[key] = decode_head(raw)
            else:
                entries.append((key, number, raw_key, raw))
        for key, number, raw_key, raw in entries:
            head = self._heads.get(key)
            if head is None or not head.first_entry <= number < head.next_entry:
                self.pending[raw_key] = None
                continue
            blob_id, content_hash = entry_identity(raw)
            self._hashes[key.project_id, key.user_id][blob_id] = content_hash
