"""Local copies of a partition's buffer: in memory, or in RocksDB to survive a restart without reading the changelog."""

import shutil
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

log = structlog.get_logger()


class PartitionStore(Protocol):
    """Holds committed state only, as of `next_offset` of the changelog (None: nothing is known, read it all)."""

    @property
    def next_offset(self) -> int | None: ...

    def get(self, key: bytes) -> bytes | None: ...

    def items(self) -> Iterator[tuple[bytes, bytes]]: ...

    def write(self, changes: Mapping[bytes, bytes | None], next_offset: int) -> None:
        """Apply changes (None removes) and the offset together: after a kill both or neither are there."""

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

    def write(self, changes: Mapping[bytes, bytes | None], next_offset: int) -> None:
        for key, value in changes.items():
            if value is None:
                self._data.pop(key, None)
            else:
                self._data[key] = value
        self.next_offset = next_offset

    def close(self) -> None:
        """Keep nothing: without an owner nobody tells this copy what changes."""

    def destroy(self) -> None:
        self._data.clear()
        self.next_offset = None


class RocksPartitionStore:
    """One RocksDB folder a partition. A copy that cannot be opened, or may have missed tombstones, is discarded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = self._open()
        self.next_offset: int | None = None
        meta = self.get(META_KEY)
        if meta is not None:
            offset, saved_at_ms = (int(part) for part in meta.split(b" "))
            if _now_ms() - saved_at_ms > TOMBSTONE_RETENTION_MS // 2:
                log.info("buffer.store_too_old", folder=folder.name)
                self.destroy()
            elif not self._is_readable():
                log.warning("buffer.store_discarded", folder=folder.name, error="a block is damaged")
                self.destroy()
            else:
                self.next_offset = offset

    def get(self, key: bytes) -> bytes | None:
        # In raw mode rocksdict gives and takes bytes only.
        return cast(bytes | None, self._database.get(key))

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._database.items():
            if key != META_KEY:
                yield cast(bytes, key), cast(bytes, value)

    def write(self, changes: Mapping[bytes, bytes | None], next_offset: int) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(META_KEY, b"%d %d" % (next_offset, _now_ms()))
        self._database.write(batch)
        self.next_offset = next_offset

    def close(self) -> None:
        self._database.close()

    def destroy(self) -> None:
        self._database.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._database = self._open()
        self.next_offset = None

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

    def _open(self) -> Rdict:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        options.set_max_write_buffer_number(WRITE_BUFFERS)
        try:
            return Rdict(str(self._folder), options)
        # rocksdict raises bare Exception subclasses; the changelog holds everything, so a broken copy is replaced.
        except Exception as error:  # noqa: BLE001
            log.warning("buffer.store_discarded", folder=self._folder.name, error=type(error).__name__)
            shutil.rmtree(self._folder, ignore_errors=True)
            return Rdict(str(self._folder), options)


def _now_ms() -> int:
    return int(time.time() * 1000)
