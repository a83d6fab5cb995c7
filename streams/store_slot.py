"""A folder of its own for each worker that shares a data folder."""

import fcntl
import os
from pathlib import Path

from schemas.errors import MemostreamError

MAX_WORKERS_PER_FOLDER = 1000


class StoreSlot:
    """Held by a lock of the operating system until `release`, or until the process ends."""

    def __init__(self, folder: Path, lock_descriptor: int) -> None:
        self.folder = folder
        self._lock_descriptor = lock_descriptor

    @classmethod
    def claim(cls, parent: Path) -> "StoreSlot":
        """Take the first free folder below `parent`, so that a restarted worker finds its own copy again."""
        for number in range(MAX_WORKERS_PER_FOLDER):
            folder = parent / f"worker-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            return cls(folder, descriptor)
        raise MemostreamError(f"{parent}: {MAX_WORKERS_PER_FOLDER} workers hold its folders already")

    def release(self) -> None:
        os.close(self._lock_descriptor)
