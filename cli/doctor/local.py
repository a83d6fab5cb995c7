"""Checks of this machine: the folder of the RocksDB copies."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.doctor.findings import Finding, failed, ok, warning
from cli.doctor.running import Check, Surroundings

LITTLE_SPACE_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Folder:
    """The nearest part of a path that exists: whether it is a folder, may be written, and what is free there."""

    nearest: Path
    is_folder: bool
    is_writable: bool
    free_bytes: int


async def check_folder(surroundings: Surroundings) -> Sequence[Finding]:
    buffer = surroundings.settings.buffer
    if buffer.store == "memory":
        return [ok("not used: the buffer's state is in memory (buffer.store) and in its changelog")]
    return [judge_folder(buffer.data_dir, look_at(buffer.data_dir))]


def look_at(path: Path) -> Folder:
    """Looks at the folder, or at that in which it would be made; makes nothing."""
    absolute = path.absolute()
    nearest = next(folder for folder in (absolute, *absolute.parents) if folder.exists())
    return Folder(
        nearest=nearest,
        is_folder=nearest.is_dir(),
        is_writable=os.access(nearest, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(nearest).free,
    )


def judge_folder(path: Path, folder: Folder) -> Finding:
    if not folder.is_folder:
        return failed(f"{folder.nearest} is no folder, so {path} cannot be made", "choose another buffer.data_dir")
    if not folder.is_writable:
        return failed(
            f"this user may not write into {folder.nearest}",
            f"give it the right to (chown or chmod {folder.nearest}), or choose another buffer.data_dir",
        )
    free_mib = folder.free_bytes >> 20
    if folder.free_bytes < LITTLE_SPACE_BYTES:
        return warning(
            f"{path} has only {free_mib:,} MiB left",
            "make room there, or choose another buffer.data_dir; what is lost of it is rebuilt",
        )
    return ok(f"{path} can be written, {free_mib:,} MiB free")


CHECKS: Final = (Check("folder", check_folder, "check buffer.data_dir"),)
