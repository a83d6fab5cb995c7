"""The `memostream` program as tests run it: in processes of its own, against the services of the test run."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from typer.testing import CliRunner

from cli.main import FAILED, MISCONFIGURED, app
from schemas.errors import ConfigurationError, MemostreamError
from schemas.settings import KafkaSettings

PROGRAM = (sys.executable, "-m", "cli.main")
DEADLINE_S = 60.0
POLL_S = 0.1


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    exit_code: int
    stdout: str
    stderr: str

    def checked(self, *, fails: bool) -> "Done":
        """Itself; raises AssertionError unless it failed as expected."""
        assert (self.exit_code != 0) is fails, f"exit code {self.exit_code}\n{self.stdout}{self.stderr}"
        return self


@dataclass(frozen=True)
class CommandLine:
    """A shell with an environment that names broker, database and prefix, in a folder of its own.

    `program` is what processes are made of: in its place may stand one that a fork server answers
    (tests/support/fork_server.py), where nobody stops or looks at a process itself.
    """

    folder: Path
    environment: Mapping[str, str]
    program: Sequence[str] = PROGRAM

    @classmethod
    def of(
        cls,
        folder: Path,
        *,
        kafka: str,
        database_url: str,
        prefix: str,
        program: Sequence[str] = PROGRAM,
        **more: str,
    ) -> "CommandLine":
        """`more` are further variables. Nothing of the surroundings reaches the settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEMOSTREAM_")}
        return cls(
            folder,
            {
                **inherited,
                "MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka,
                "MEMOSTREAM_KAFKA__TOPIC_PREFIX": prefix,
                "MEMOSTREAM_KAFKA__PARTITIONS": "2",
                "MEMOSTREAM_STORAGE__DATABASE_URL": database_url,
                "MEMOSTREAM_BUFFER__TOKENIZER": "estimate",
                "MEMOSTREAM_RELAY__SHARDS": "1",
                "COLUMNS": "160",
                **more,
            },
            program,
        )

    def with_variables(self, **variables: str) -> "CommandLine":
        """The same shell, in which these stand instead or beside."""
        return replace(self, environment={**self.environment, **variables})

    @property
    def kafka(self) -> KafkaSettings:
        """How a test itself reaches the broker."""
        return KafkaSettings(
            bootstrap_servers=self.environment["MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS"],
            topic_prefix=self.environment["MEMOSTREAM_KAFKA__TOPIC_PREFIX"],
        )

    @property
    def database_url(self) -> str:
        return self.environment["MEMOSTREAM_STORAGE__DATABASE_URL"]

    def run(self, *arguments: str, stdin: bytes = b"", fails: bool = False, timeout_s: float = DEADLINE_S) -> Done:
        """Run a command in a process of its own; an unexpected failure is an AssertionError with its output."""
        done = subprocess.run(
            [*self.program, *arguments],
            input=stdin,
            capture_output=True,
            cwd=self.folder,
            env=dict(self.environment),
            timeout=timeout_s,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode()).checked(fails=fails)

    def call(self, *arguments: str, fails: bool = False) -> Done:
        """The same inside this process, which spares it the imports; the command reads no input."""
        with ThreadPoolExecutor(1) as pool:
            # A test may have a running loop, and the command wants one of its own.
            return pool.submit(self._call, arguments).result().checked(fails=fails)

    def _call(self, arguments: Sequence[str]) -> Done:
        without = {name: None for name in os.environ if name.startswith("MEMOSTREAM_")}
        with contextlib.chdir(self.folder):
            result = CliRunner().invoke(app, list(arguments), env={**without, **self.environment})
        if isinstance(result.exception, MemostreamError):
            exit_code = MISCONFIGURED if isinstance(result.exception, ConfigurationError) else FAILED
            return Done(exit_code, result.stdout, f"{result.stderr}error: {result.exception}\n")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    def documents(self, *arguments: str, fails: bool = False) -> list[dict[str, Any]]:
        """What a command prints with `--json`."""
        return [orjson.loads(line) for line in self.call(*arguments, "--json", fails=fails).stdout.splitlines()]

    def document(self, *arguments: str, fails: bool = False) -> dict[str, Any]:
        """The one object that a command prints with `--json`."""
        (found,) = self.documents(*arguments, fails=fails)
        return found

    @contextlib.contextmanager
    def background(self, *arguments: str, until: str = "") -> Iterator["Background"]:
        """A command that runs while the block does, from the moment that it has printed `until` on."""
        log = self.folder / f"{arguments[0]}-{time.monotonic_ns()}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*self.program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=dict(self.environment),
            )
            background = Background(process, log)
            try:
                background.wait_for(until)
                yield background
            finally:
                background.stop()


@dataclass(frozen=True)
class Background:
    """A running command and what it has printed."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, deadline_s: float = DEADLINE_S) -> None:
        """Raise AssertionError if the command ends, or the deadline passes, before it has printed the text."""
        deadline = time.monotonic() + deadline_s
        while text not in self.output():
            assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.output()}"
            assert time.monotonic() < deadline, f"{text!r} was not printed\n{self.output()}"
            time.sleep(POLL_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the command, wait for its end (killing it in the end) and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not stop\n{self.output()}") from None
