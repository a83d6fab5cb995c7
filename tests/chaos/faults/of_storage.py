"""Faults of a worker's local copies, done while it is down."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rocksdict import Options, Rdict

from streams.buffer_store import META_KEY
from tests.chaos.arena import Arena
from tests.chaos.faults.of_workers import some_worker
from tests.chaos.workers import Worker

FLIPPED_BYTES: Final = 64
# How long a copy is left behind while its worker goes on.
OLDER_S: Final = 6.0
DAYS_OLD_MS: Final = 3 * 24 * 3600 * 1000


async def delete(arena: Arena) -> str:
    return await _while_down(arena, some_worker(arena), lambda folder: shutil.rmtree(folder, ignore_errors=True))


async def corrupt(arena: Arena) -> str:
    """Other bytes in a few places of every file that holds data."""

    def flip(folder: Path) -> None:
        files = [file for file in sorted(folder.glob("**/partition-*/*")) if file.suffix in (".sst", ".log")]
        for file in files:
            content = bytearray(file.read_bytes())
            for _ in range(min(FLIPPED_BYTES, len(content))):
                content[arena.random.randrange(len(content))] ^= 0xFF
            file.write_bytes(content)

    return await _while_down(arena, some_worker(arena), flip)


async def older_copy(arena: Arena) -> str:
    """A copy that is put back after the worker went on, as from a backup."""
    place = some_worker(arena)
    backup = place.data_dir.with_suffix(".backup")
    await _put_back(arena, place, backup)
    return f"{OLDER_S:g} s old"


async def days_old(arena: Arena) -> str:
    """The same, and so old that the changelog may have forgotten what was removed since."""
    place = some_worker(arena)
    backup = place.data_dir.with_suffix(".backup")
    await _put_back(arena, place, backup, _age)
    return "3 days old"


async def _put_back(
    arena: Arena, place: Worker, backup: Path, change: Callable[[Path], None] = lambda folder: None
) -> None:
    def keep(folder: Path) -> None:
        shutil.rmtree(backup, ignore_errors=True)
        if folder.exists():
            shutil.copytree(folder, backup)

    def put_back(folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if backup.exists():
            backup.rename(folder)
        change(folder)

    await _while_down(arena, place, keep)
    await asyncio.sleep(OLDER_S)
    await _while_down(arena, place, put_back)


def _age(folder: Path) -> None:
    for partition in folder.glob("**/partition-*"):
        database = Rdict(str(partition), Options(raw_mode=True))
        meta = database.get(META_KEY)
        if isinstance(meta, bytes):
            offset, saved_at_ms, *others = meta.split(b" ")
            database.put(META_KEY, b" ".join([offset, b"%d" % (int(saved_at_ms) - DAYS_OLD_MS), *others]))
        database.close()


async def _while_down(arena: Arena, place: Worker, change: Callable[[Path], None]) -> str:
    await arena.workers.kill(place)
    await asyncio.to_thread(change, place.data_dir)
    arena.workers.start(place)
    return ""
