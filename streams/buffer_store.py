"""Local copies of a partition's buffer: in memory, or in RocksDB to survive a restart without reading the changelog."""

import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol, cast

import structlog
from rocksdict import Options, Rdict, WriteBatch

from streams.topics import TOMBSTONE_RETENTION_MS

# Sorts before every JSON key, and is none itself.
META_KEY: Final = b"\x00next-offset"

# Of each partition's copy; RocksDB would take 64 MiB for each buffer.
WRITE_BUFFER_BYTES: Final = 8 << 20
WRITE_BUFFERS: Final = 2
# What a copy of the copy writes at a time.
COPIED_BYTES: Final = 1 << 20
# Where nothing is known; no offset is below 0.
UNKNOWN: Final = -1

log = structlog.get_logger()


class PartitionStore(Protocol):
    """Holds committed state only, as of `next_offset` of the changelog (None: nothing is known, read it all)."""

    @property
    def next_offset(self) -> int | None: ...

    def is_clean_at(self, source_offset: int) -> bool:
        """Whether nothing is left on disk of what records of `chat-messages` below that offset have removed."""
        ...

    def get(self, key: bytes) -> bytes | None: ...

    def items(self) -> Iterator[tuple[bytes, bytes]]: ...

    def write(self, changes: Mapping[bytes, bytes | None], next_offset: int, clean_offset: int | None = None) -> None:
        """Apply changes (None removes) and the offsets together: after a kill all or nothing is there.

        With `clean_offset` it is clean at that offset of `chat-messages` from now on, without one at none.
        """

    def copy_live(self) -> bool:
        """Copy what is there, and nothing that was removed, for `take_copy`; in a thread. False once it is closed.

        Nothing may be written until `take_copy`.
        """
        ...

    def take_copy(self, clean_offset: int) -> None:
        """Go on with the copy, and delete what it was made from: clean at that offset of `chat-messages`."""

    def close(self) -> None: ...

    def destroy(self) -> None: ...


class MemoryPartitionStore:
    """A dictionary; lives as long as the process owns the partition."""

    def __init__(self) -> None:
        self._data: dict[bytes, bytes] = {}
        self.next_offset: int | None = None

    def get(self, key: bytes) -> bytes | None:
        return self._data.get(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._data.items())

    def is_clean_at(self, source_offset: int) -> bool:  # noqa: ARG002
        return True

    def write(
        self,
        changes: Mapping[bytes, bytes | None],
        next_offset: int,
        clean_offset: int | None = None,  # noqa: ARG002
    ) -> None:
        for key, value in changes.items():
            if value is None:
                self._data.pop(key, None)
            else:
                self._data[key] = value
        self.next_offset = next_offset

    def copy_live(self) -> bool:
        return True

    def take_copy(self, clean_offset: int) -> None:
        """Nothing is left of what was removed."""

    def close(self) -> None:
        """Keep nothing: without an owner nobody tells this copy what changes."""

    def destroy(self) -> None:
        self._data.clear()
        self.next_offset = None


class RocksPartitionStore:
    """One RocksDB folder a partition. A copy that cannot be opened, or may have missed tombstones, is discarded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copy_folder = folder.with_name(f"{folder.name}.copy")
        self._copying = threading.Lock()
        self._closing = threading.Event()
        # What a kill has left of one.
        shutil.rmtree(self._copy_folder, ignore_errors=True)
        self._database = self._open(self._folder)
        self.next_offset: int | None = None
        self._clean_offset = UNKNOWN
        meta = self.get(META_KEY)
        if meta is not None:
            offset, saved_at_ms, *rest = (int(part) for part in meta.split(b" "))
            if _now_ms() - saved_at_ms > TOMBSTONE_RETENTION_MS // 2:
                log.info("buffer.store_too_old", folder=folder.name)
                self.destroy()
            elif not self._is_readable():
                log.warning("buffer.store_discarded", folder=folder.name, error="a block is damaged")
                self.destroy()
            else:
                self.next_offset = offset
                self._clean_offset = rest[0] if rest else UNKNOWN

    def get(self, key: bytes) -> bytes | None:
        # In raw mode rocksdict gives and takes bytes only.
        return cast(bytes | None, self._database.get(key))

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._database.items():
            if key != META_KEY:
                yield cast(bytes, key), cast(bytes, value)

    def is_clean_at(self, source_offset: int) -> bool:
        return self._clean_offset == source_offset

    def write(self, changes: Mapping[bytes, bytes | None], next_offset: int, clean_offset: int | None = None) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self.next_offset = next_offset
        self._clean_offset = UNKNOWN if clean_offset is None else clean_offset
        batch.put(META_KEY, b"%d %d %d" % (next_offset, _now_ms(), self._clean_offset))
        self._database.write(batch)

    # Tables, the log and the manifest keep removed keys until RocksDB comes to them, which may be never; a folder that
    # was written from what is there has never held them.
    def copy_live(self) -> bool:
        with self._copying:
            # A thread may begin late.
            if self._closing.is_set():
                return False
            shutil.rmtree(self._copy_folder, ignore_errors=True)
            copy = self._open(self._copy_folder)
            try:
                batch, size_bytes = WriteBatch(raw_mode=True), 0
                for raw_key, raw in self._database.items():
                    if self._closing.is_set():
                        return False
                    key, value = cast(bytes, raw_key), cast(bytes, raw)
                    batch.put(key, value)
                    size_bytes += len(key) + len(value)
                    if size_bytes > COPIED_BYTES:
                        copy.write(batch)
                        batch, size_bytes = WriteBatch(raw_mode=True), 0
                copy.write(batch)
                copy.flush()
                return True
            finally:
                copy.close()

    def take_copy(self, clean_offset: int) -> None:
        self._database.close()
        # A kill in between leaves no copy at all, and the changelog holds everything.
        shutil.rmtree(self._folder)
        self._copy_folder.rename(self._folder)
        self._database = self._open(self._folder)
        if self.next_offset is not None:
            self.write({}, self.next_offset, clean_offset)

    def close(self) -> None:
        self._closing.set()
        with self._copying:
            self._database.close()
            shutil.rmtree(self._copy_folder, ignore_errors=True)

    def destroy(self) -> None:
        self._database.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._database = self._open(self._folder)
        self.next_offset = None
        self._clean_offset = UNKNOWN

    def _is_readable(self) -> bool:
        # `items` ends at a damaged block as if nothing came after it; only the iterator's status tells.
        iterator = self._database.iter()
        iterator.seek_to_first()
        while iterator.valid():
            iterator.next()
        try:
            iterator.status()
        # rocksdict raises bare Exception subclasses.
        except Exception:  # noqa: BLE001
            return False
        return True

    def _open(self, folder: Path) -> Rdict:
        folder.parent.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        options.set_max_write_buffer_number(WRITE_BUFFERS)
        try:
            return Rdict(str(folder), options)
        # rocksdict raises bare Exception subclasses; the changelog holds everything, so a broken copy is replaced.
        except Exception as error:  # noqa: BLE001
            log.warning("buffer.store_discarded", folder=folder.name, error=type(error).__name__)
            shutil.rmtree(folder, ignore_errors=True)
            return Rdict(str(folder), options)


def _now_ms() -> int:
    return int(time.time() * 1000)
