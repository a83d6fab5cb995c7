"""Runs `memostream` commands in forks of a process that has imported everything, which spares each its imports.

A command has arguments, folder, environment, standard streams and signals of its own, as any process; only the modules
are there already. `python -m tests.support.fork_server ADDRESS` serves; `install` makes the `memostream` that asks it.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from tests.support.documents import ROOT

# What commands import when they run.
PRELOADED: Final = (
    "cli.main",
    "cli.audit",
    "cli.flushing",
    "cli.sending",
    "cli.showing",
    "cli.up",
    "cli.watching",
    "agents.application",
    "api.app",
    "cli.gateway",
    "embedded",
    "streams.worker",
)
START_S: Final = 60.0
POLL_S: Final = 0.01
# The client: connects, hands over its streams, passes signals on, and ends with the command's exit code.
CLIENT: Final = """#!{python} -IS
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(asked).to_bytes(4, "big")], [0, 1, 2])
server.sendall(asked)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
ended = server.recv(1)
sys.exit(ended[0] if ended else 1)
"""


@contextlib.contextmanager
def forking(folder: Path) -> Iterator[Path]:
    """A folder with a `memostream` program in it, which works while the block runs."""
    # Not in the folder: a socket's address must be short.
    address = folder / "commands.socket"
    process = subprocess.Popen([sys.executable, "-m", "tests.support.fork_server", str(address)], cwd=ROOT)
    try:
        deadline = time.monotonic() + START_S
        while not address.exists():
            assert process.poll() is None, "the fork server ended"
            assert time.monotonic() < deadline, "the fork server did not start"
            time.sleep(POLL_S)
        programs = folder / "programs"
        programs.mkdir()
        program = programs / "memostream"
        program.write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
        program.chmod(0o755)
        yield programs
    finally:
        process.terminate()
        process.wait()


def serve(address: str) -> NoReturn:
    for name in PRELOADED:
        importlib.import_module(name)
    # Nobody waits for those that serve one command.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            client, _ = listener.accept()
            with client:
                if os.fork() == 0:
                    listener.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _attend(client)


def _attend(client: socket.socket) -> NoReturn:
    """Run one command in a fork, and stay beside it."""
    head, streams, _, _ = socket.recv_fds(client, 4, 3)
    asked = b""
    while len(asked) < int.from_bytes(head, "big"):
        asked += client.recv(1 << 16)
    arguments, folder, environment = json.loads(asked)
    command = os.fork()
    if command == 0:
        client.close()
        _run(arguments, folder, environment, streams)
    for stream in streams:
        os.close(stream)
    while True:
        readable, _, _ = select.select([client], [], [], POLL_S)
        ended, status = os.waitpid(command, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            client.sendall(bytes([code if code >= 0 else 128 - code]))
            os._exit(0)
        if readable:
            signals = client.recv(16)
            for number in signals or [signal.SIGKILL]:
                os.kill(command, number)


def _run(arguments: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> NoReturn:
    # A process group of its own, as in a terminal: what it starts is not ours.
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["memostream", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    code = 0
    try:
        importlib.import_module("cli.main").run()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001 - as the interpreter does with whatever reaches it
        sys.excepthook(*sys.exc_info())
        code = 1
    for output in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            output.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
