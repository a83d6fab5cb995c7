"""The worker processes of a run under a supervisor, as an orchestrator would be: who ends is started again."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from schemas.settings import Settings, load_settings

RESTART_S: Final = 0.3
LOOK_S: Final = 0.1
WAITS_S: Final = 2.0
STOP_TIMEOUT_S: Final = 60.0
STOPPED: Final = 0
KILLED: Final = -signal.SIGKILL
ROOT: Final = Path(__file__).parents[2]
_LAST_WORDS: Final = ("worker.failed", "process.failed")
_TAIL_BYTES: Final = 200_000


@dataclass
class Worker:
    """One place for a worker; the process in it changes. `wanted` says whether one shall run."""

    name: str
    config: Path
    log_file: Path
    data_dir: Path
    process: "subprocess.Popen[bytes] | None" = None
    wanted: bool = True
    starts: int = 0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass
class Ends:
    """How workers ended: as a fault wanted it, or by themselves, by cause."""

    killed: int = 0
    stopped: int = 0
    unexpected: Counter[str] = field(default_factory=Counter)


class Workers:
    """Places by number, from 0."""

    def __init__(self, folder: Path, count: int, settings_of: Callable[[Path], Mapping[str, Any]]) -> None:
        self._folder = folder
        self.armed = folder / "armed"
        self.armed.mkdir(parents=True)
        self.ends = Ends()
        self.places: list[Worker] = []
        for number in range(count):
            name = f"worker-{number}"
            data_dir = folder / name
            config = folder / f"{name}.json"
            # JSON is YAML.
            config.write_text(json.dumps(settings_of(data_dir)), encoding="utf-8")
            self.places.append(Worker(name, config, folder / f"{name}.log", data_dir))

    def settings(self) -> Settings:
        return load_settings(self.places[0].config, environ={})

    @property
    def running(self) -> list[Worker]:
        return [place for place in self.places if place.is_running]

    def start(self, place: Worker) -> None:
        """A worker that begins behind what the last one has logged."""
        with place.log_file.open("ab") as output:
            place.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker", str(place.config), str(self.armed)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        place.wanted = True
        place.starts += 1

    async def kill(self, place: Worker) -> None:
        """SIGKILL; it stays away until it is started."""
        place.wanted = False
        if place.process is not None and place.is_running:
            place.process.kill()
            await _gone(place.process)
            self._note(place)

    async def stop(self, place: Worker) -> None:
        """SIGTERM, and wait; what does not end is killed, and counts as an unexpected end."""
        place.wanted = False
        if place.process is None or not place.is_running:
            return
        place.process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await _gone(place.process)
            self._note(place, asked=True)
        except TimeoutError:
            self.ends.unexpected[f"did not stop within {STOP_TIMEOUT_S:g} s"] += 1
            place.process.kill()
            await _gone(place.process)
            place.process = None

    def freeze(self, place: Worker) -> None:
        if place.process is not None:
            place.process.send_signal(signal.SIGSTOP)

    def thaw(self, place: Worker) -> None:
        if place.process is not None:
            place.process.send_signal(signal.SIGCONT)

    async def say_waits(self) -> None:
        """Let every worker log what it waits for."""
        for place in self.running:
            if place.process is not None:
                place.process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(WAITS_S)

    def arm(self, name: str) -> None:
        """Let the first worker die that comes to this boundary."""
        (self.armed / name).touch()

    def disarm(self, name: str) -> None:
        (self.armed / name).unlink(missing_ok=True)

    def is_armed(self, name: str) -> bool:
        return (self.armed / name).exists()

    @asynccontextmanager
    async def supervised(self) -> AsyncIterator[None]:
        """All started, and started again when they end, until the block is left; then none is left."""
        for place in self.places:
            self.start(place)
        supervisor = asyncio.create_task(self._supervise())
        try:
            yield
        finally:
            supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await supervisor
            for place in self.places:
                await self.kill(place)

    async def _supervise(self) -> None:
        while True:
            for place in self.places:
                if place.wanted and place.process is not None and not place.is_running:
                    self._note(place)
                    await asyncio.sleep(RESTART_S)
                    if place.wanted:
                        self.start(place)
            await asyncio.sleep(LOOK_S)

    def _note(self, place: Worker, *, asked: bool = False) -> None:
        """Count how the process in this place has ended, once."""
        process, place.process = place.process, None
        if process is None:
            return
        if process.returncode == KILLED:
            self.ends.killed += 1
        elif process.returncode == STOPPED and asked:
            self.ends.stopped += 1
        else:
            self.ends.unexpected[f"exit {process.returncode}: {last_words(place.log_file)}"] += 1


def last_words(log_file: Path) -> str:
    """What the last error in a log says, of the kind only: the same cause is to read the same."""
    with log_file.open("rb") as file:
        file.seek(max(0, log_file.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    for line in reversed(lines):
        with contextlib.suppress(json.JSONDecodeError, AttributeError, LookupError, TypeError):
            entry = json.loads(line)
            if entry["event"] in _LAST_WORDS:
                error = entry["exception"][0]
                return f"{error['exc_type']}: {error['exc_value']}"[:200]
    return lines[-1][:200] if lines else "it said nothing"


async def _gone(process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        await asyncio.sleep(0.02)
