"""A tiny process between memostream and one service: when memostream goes, the service goes too.

It is run as a script (`python guardian.py OPTIONS -- COMMAND…`), imports only the standard library, and lives
in a session of its own, so that a Ctrl-C in the terminal reaches memostream first. Its standard input is a
pipe that only memostream holds, and the pipe's end means stop: `kill -9` of memostream closes it as well, on
every Unix. It prints the service's process id, then nothing.
"""

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.5


def run(arguments: Sequence[str]) -> int:
    """Keep the command until it ends or the pipe closes; return its exit status (128 + n for signal n)."""
    options = _parse(arguments)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    stopping = False

    def on_terminate(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, on_terminate)
    # A handler, so that the end of the service writes to the wake-up pipe.
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    identity = {} if options.uid is None else {"user": options.uid, "group": options.gid, "extra_groups": []}
    service = subprocess.Popen(
        options.command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=sys.stderr,
        # The service holds the folder's lock as well: it is free again only when the last process is gone.
        pass_fds=options.pass_fd,
        preexec_fn=_end_with_parent(options.stop_signal),
        **identity,
    )
    os.write(1, f"{service.pid}\n".encode())
    os.close(1)

    kill_at: float | None = None
    watched = [0, wake_read]
    while service.poll() is None:
        readable, _, _ = select.select(watched, [], [], _POLL_S)
        if wake_read in readable:
            os.read(wake_read, 512)
        if 0 in readable:
            watched.remove(0)
            stopping = True
        if stopping and kill_at is None:
            kill_at = time.monotonic() + options.grace_s
            # A frozen (SIGSTOP) service hears nothing until it goes on.
            service.send_signal(options.stop_signal)
            service.send_signal(signal.SIGCONT)
        if kill_at is not None and time.monotonic() > kill_at:
            service.kill()
    return service.returncode if service.returncode >= 0 else 128 - service.returncode


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stop-signal", type=int, default=signal.SIGTERM)
    parser.add_argument("--grace-s", type=float, default=10.0)
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--pass-fd", type=int, action="append", default=[])
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def _end_with_parent(number: int) -> Callable[[], None] | None:
    """On Linux the kernel signals the service when the guardian itself is killed; elsewhere nothing does."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def set_signal() -> None:
        with contextlib.suppress(OSError):
            prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)

    return set_signal


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
