"""Who runs the services of a folder, and where they listen: an OS lock and a file beside it."""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from schemas.errors import ConfigurationError

_LOCK_NAME = "services.lock"
_FILE_NAME = "services.json"
# Longer than `read_addresses` of another shell holds its shared lock.
_LOCK_PATIENCE_S = 0.5
_POLL_S = 0.02


@dataclass(frozen=True)
class EmbeddedAddresses:
    """Where to connect; an empty string for a service that was not asked for."""

    bootstrap_servers: str
    database_url: str


@dataclass(frozen=True)
class _Holder:
    pid: int
    command: str
    since: str


def read_addresses(data_dir: Path) -> EmbeddedAddresses | None:
    """The running services of this folder; None if none run or they are still starting."""
    try:
        descriptor = os.open(data_dir / _LOCK_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        if _try_lock(descriptor, fcntl.LOCK_SH):
            return None
        return EmbeddedAddresses(**json.loads((data_dir / _FILE_NAME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    finally:
        os.close(descriptor)


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Hold the folder for this process. Raises ConfigurationError that says who holds it already.

    The operating system frees the lock however the holder ends: a file left behind blocks nobody.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = data_dir / _LOCK_NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise ConfigurationError(_who_holds(data_dir, path))
            time.sleep(_POLL_S)
        (data_dir / _FILE_NAME).unlink(missing_ok=True)
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        holder = _Holder(os.getpid(), command, datetime.now(UTC).isoformat(timespec="seconds"))
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(asdict(holder)).encode())
        yield
    finally:
        os.close(descriptor)


@contextmanager
def published(data_dir: Path, addresses: EmbeddedAddresses) -> Iterator[None]:
    """Let other shells find the services while the block runs; only inside `held`."""
    path = data_dir / _FILE_NAME
    complete = path.with_suffix(".json.new")
    complete.write_text(json.dumps(asdict(addresses)), encoding="utf-8")
    complete.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _who_holds(data_dir: Path, path: Path) -> str:
    try:
        holder = _Holder(**json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        # It took the lock a moment ago and has not written its name yet.
        return f"{data_dir} is in use by another memostream; stop it first or name another folder"
    return (
        f"{data_dir} is in use by process {holder.pid} ({holder.command}), since {holder.since}; "
        "stop it first or name another folder"
    )
