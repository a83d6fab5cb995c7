"""Programs in other languages that follow the change topics and print a line of JSON for each change."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

# A Java runtime and two others start at the same time, on what may be one slow core.
DEADLINE_S = 120.0
POLL_S = 0.1


@dataclass(frozen=True)
class Follower:
    """A running consumer and what it has printed."""

    name: str
    process: subprocess.Popen[bytes]
    folder: Path

    def printed(self) -> list[dict[str, Any]]:
        """The whole lines so far."""
        complete, _, _ = (self.folder / "stdout").read_bytes().rpartition(b"\n")
        return [orjson.loads(line) for line in complete.splitlines()]

    def complaints(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")

    def wait_for(self, ids: set[str]) -> None:
        """Raise AssertionError if the program ends, or the deadline passes, before it has printed all of them."""
        deadline = time.monotonic() + DEADLINE_S
        while missing := ids - {line["id"] for line in self.printed()}:
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}\n{self.complaints()}"
            assert time.monotonic() < deadline, f"{self.name} has not printed {missing}\n{self.complaints()}"
            time.sleep(POLL_S)

    def wait_for_end(self) -> int:
        return self.process.wait(DEADLINE_S)

    def stop(self) -> int:
        """Its exit code after a SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait_for_end()


@contextlib.contextmanager
def following(
    name: str, command: Sequence[str], folder: Path, *, kafka: str, prefix: str, group: str
) -> Iterator[Follower]:
    """Run a consumer while the block runs; what is left of it then is killed."""
    folder.mkdir()
    variables: Mapping[str, str] = {
        "MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka,
        "MEMOSTREAM_KAFKA__TOPIC_PREFIX": prefix,
        "GROUP": group,
        # Where the terminal's encoding is not UTF-8, the lines are all the same.
        "LC_ALL": "C",
    }
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, cwd=folder, env={**os.environ, **variables}
        )
    try:
        yield Follower(name, process, folder)
    finally:
        process.kill()
        process.wait()
