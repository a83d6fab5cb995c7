"""One service under its guardian: bound to no event loop, so that a session fixture may own it."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ConfigurationError

_GUARDIAN = Path(__file__).with_name("guardian.py")
_POLL_S = 0.02
_GUARDIAN_EXTRA_S = 10.0
_LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class SystemUser:
    """Whom a service runs as when we are root and it refuses to be."""

    uid: int
    gid: int
    name: str


class ServiceProcess:
    """A running service; `pid` is the service's own process, for tests that freeze or kill it."""

    def __init__(self, name: str, guardian: subprocess.Popen[bytes], pid: int, grace_s: float) -> None:
        self.name = name
        self.pid = pid
        self._guardian = guardian
        self._grace_s = grace_s

    @property
    def running(self) -> bool:
        return self._guardian.poll() is None

    async def stop(self) -> None:
        """Ask it to stop, wait; the guardian kills it after the grace. Nothing of it is left afterwards."""
        assert self._guardian.stdin is not None
        self._guardian.stdin.close()
        deadline = time.monotonic() + self._grace_s + _GUARDIAN_EXTRA_S
        while self.running:
            if time.monotonic() > deadline:
                self._guardian.kill()
            await asyncio.sleep(_POLL_S)

    async def kill(self) -> None:
        """SIGKILL, as a crash would; returns when it is gone."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
        while self.running:
            await asyncio.sleep(_POLL_S)
        assert self._guardian.stdin is not None
        self._guardian.stdin.close()


async def spawn(
    name: str,
    command: Sequence[str],
    *,
    lock_file: Path,
    log_file: Path,
    stop_signal: signal.Signals,
    grace_s: float,
    user: SystemUser | None = None,
) -> ServiceProcess:
    """Start a service when the last one of the same folder is gone; its output goes to the end of `log_file`.

    Raises ConfigurationError if another process still holds `lock_file` after the grace of a stopping one.
    """
    lock = await _lock_when_free(name, lock_file, grace_s + _GUARDIAN_EXTRA_S)
    try:
        options = ["--stop-signal", str(int(stop_signal)), "--grace-s", str(grace_s), "--pass-fd", str(lock)]
        if user is not None:
            options += ["--uid", str(user.uid), "--gid", str(user.gid)]
        guardian = _start_guardian([*options, "--", *command], log_file, lock)
    finally:
        os.close(lock)
    assert guardian.stdout is not None
    with guardian.stdout:
        line = await asyncio.to_thread(guardian.stdout.readline)
    if not line:
        guardian.wait()
        raise ConfigurationError(f"{name} did not start:\n{log_tail(log_file)}")
    return ServiceProcess(name, guardian, int(line), grace_s)


def run_to_end(command: Sequence[str], *, user: SystemUser | None = None, cwd: Path) -> None:
    """Run a preparing command (format, initdb); raises ConfigurationError with its output. Blocking."""
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=cwd,
        start_new_session=True,
        user=None if user is None else user.uid,
        group=None if user is None else user.gid,
        extra_groups=None if user is None else [],
    )
    if result.returncode != 0:
        output = (result.stdout + result.stderr).strip()
        raise ConfigurationError(f"{Path(command[0]).name} failed ({result.returncode}): {output}")


async def wait_until(ready: Callable[[], bool], *, timeout_s: float) -> bool:
    """Whether `ready` came true in time; it is asked again and again."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


def log_tail(path: Path) -> str:
    """The log's last lines, for an error message."""
    if not path.exists():
        return "(no log)"
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:])


def _start_guardian(arguments: Sequence[str], log_file: Path, lock: int) -> subprocess.Popen[bytes]:
    with log_file.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARDIAN), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
            cwd=log_file.parent,
        )


async def _lock_when_free(name: str, path: Path, timeout_s: float) -> int:
    """A locked descriptor. The service of a killed memostream holds it until it has gone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def locked() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        free = await wait_until(locked, timeout_s=timeout_s)
    except asyncio.CancelledError:
        os.close(descriptor)
        raise
    if not free:
        os.close(descriptor)
        raise ConfigurationError(f"{name} is still running in {path.parent} and does not stop")
    return descriptor
