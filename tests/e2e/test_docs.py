"""README and documentation pages as a reader follows them: every block of a page, in its order, in a fresh folder."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import pytest

from embedded.addresses import read_addresses
from tests.support.documents import ROOT, SHELLS, Block, Output, Page, Step, disagreement, page_paths, read_page
from tests.support.node import NODE_ENVIRONMENT, node_programs
from tests.support.scripted_openai import Call, ScriptedOpenAI

# What a reader finds in the root of the clone, and a page may use.
OF_THE_CLONE: Final = ("config.yaml.example", "docker-compose.yml", "cli/examples", "clients", "deploy", "docs/schemas")
NOT_COPIED: Final = shutil.ignore_patterns("node_modules", "dist", "target", "build", "__pycache__")
DATA: Final = "memostream-data"
# What a block leaves for the next one.
PLACE: Final = "place"
VARIABLES: Final = "variables"
# As the settings' defaults, which the pages show.
BROKER: Final = "127.0.0.1:9092"
DATABASE: Final = "postgresql+asyncpg://postgres@127.0.0.1:5432/memostream"
# The port is another one where this is taken; the file in the data folder says which.
GATEWAY: Final = "http://127.0.0.1:8019"
GATEWAY_FILE: Final = "gateway-url"
# Where Ollama listens; a scripted endpoint takes its place, with vectors as long as those of nomic-embed-text.
MODEL_ENDPOINT: Final = "http://127.0.0.1:11434/v1"
MODEL_DIMENSION: Final = 768
DEADLINE_S: Final = 120.0
POLL_S: Final = 0.05
VISITS_AT_ONCE: Final = 2
PAGES: Final = [page for page in map(read_page, page_paths()) if page.runs]


@dataclass
class Reader:
    """A terminal in a folder that stands for the clone, and what was left running in others."""

    folder: Path
    environment: dict[str, str]
    model_endpoint: str
    place: Path = field(init=False)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    state: Path = field(init=False)

    def __post_init__(self) -> None:
        self.place = self.folder
        self.state = self.folder.with_suffix(".state")
        self.state.mkdir()

    def do(self, step: Step) -> None:
        """Raises AssertionError with the output when a step does not come to what its page says."""
        directives = step.block.directives
        text = self.with_addresses(step.block.text)
        if step.kind == "file":
            target = self.place / step.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            return
        if "stop" in directives:
            self.stop_running()
        command = self.command(step.block, text, keeps="until" not in directives and "background" not in directives)
        if "background" in directives:
            process, log = self.start(command, step.block)
            self.running.append(process)
            wait_for(process, log, directives["background"], step.outputs)
        elif "until" in directives:
            process, log = self.start(command, step.block)
            try:
                wait_for(process, log, directives["until"], step.outputs)
            finally:
                interrupt(process)
        else:
            process, log = self.start(command, step.block)
            try:
                exit_code = process.wait(DEADLINE_S)
            finally:
                interrupt(process)
            printed = output_of(log)
            assert exit_code == step.exit_code, f"exit code {exit_code}\n{step.block.text}\n{printed}"
            for output in step.outputs:
                assert (found := disagreement(output, printed)) is None, f"{found}\n{printed}"
            self.go_on()

    def with_addresses(self, text: str) -> str:
        """The text with the addresses of the system that runs in the folder now, where it has the default ones."""
        text = text.replace(MODEL_ENDPOINT, self.model_endpoint)
        gateway = self.folder / DATA / GATEWAY_FILE
        if gateway.exists():
            text = text.replace(GATEWAY, gateway.read_text(encoding="utf-8").strip())
        addresses = read_addresses(self.folder / DATA)
        if addresses is None:
            return text
        return text.replace(BROKER, addresses.bootstrap_servers).replace(DATABASE, addresses.database_url)

    def command(self, block: Block, text: str, *, keeps: bool) -> Sequence[str]:
        """A shell keeps its folder and its variables for the next block, as an open terminal does."""
        if block.language not in SHELLS:
            script = self.state / f"line_{block.line}.py"
            script.write_text(text, encoding="utf-8")
            return [sys.executable, str(script)]
        script = self.state / f"line_{block.line}.sh"
        left = f"trap 'pwd > {self.state / PLACE}; env -0 > {self.state / VARIABLES}' EXIT\n"
        script.write_text((left if keeps else "") + text, encoding="utf-8")
        return ["bash", "-euo", "pipefail", str(script)]

    def start(self, command: Sequence[str], block: Block) -> tuple[subprocess.Popen[bytes], Path]:
        log = self.state / f"line_{block.line}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.place,
                env=self.environment,
                start_new_session=True,
            )
        return process, log

    def go_on(self) -> None:
        """Take over the folder and the variables that the last block left."""
        left = self.state / VARIABLES
        if left.exists():
            self.place = Path((self.state / PLACE).read_text(encoding="utf-8").strip())
            entries = left.read_bytes().decode().split("\0")
            self.environment = dict(entry.split("=", 1) for entry in entries if "=" in entry)
            left.unlink()

    def stop_running(self) -> None:
        while self.running:
            interrupt(self.running.pop())


def wait_for(process: subprocess.Popen[bytes], log: Path, text: str, outputs: Sequence[Output]) -> None:
    """Raises AssertionError if the command ends, or time runs out, before text and outputs were printed."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        ended = process.poll() is not None
        printed = output_of(log)
        found = [disagreement(output, printed) for output in outputs]
        if text in printed and not any(found):
            return
        reason = f"not printed: {text!r}" if text not in printed else "; ".join(filter(None, found))
        assert not ended, f"ended with {process.returncode}; {reason}\n{printed}"
        assert time.monotonic() < deadline, f"{reason}\n{printed}"
        time.sleep(POLL_S)


def output_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C for the command and all that it started; nothing for one that has ended."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(DEADLINE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise AssertionError("Ctrl-C did not end the command") from None


@contextlib.contextmanager
def reading(folder: Path, environment: Mapping[str, str], model_endpoint: str = "") -> Iterator[Reader]:
    """A reader in a folder like a fresh clone."""
    folder.mkdir()
    for name in OF_THE_CLONE:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=NOT_COPIED)
        elif source.exists():
            shutil.copy(source, target)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").write_text(f"export PATH='{environment['PATH']}'\n", encoding="utf-8")
    reader = Reader(folder, dict(environment), model_endpoint)
    try:
        yield reader
    finally:
        reader.stop_running()


@pytest.fixture(scope="module")
def environment(program: Sequence[str], service_folder: Path) -> dict[str, str]:
    """A terminal 100 characters wide in which the environment is active and nothing is configured."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEMOSTREAM_")}
    node = node_programs(service_folder / "node")
    folders = [Path(program[0]).parent, Path(sys.executable).parent, node, inherited.get("PATH", "")]
    return {
        **NODE_ENVIRONMENT,
        **inherited,
        "PATH": os.pathsep.join(map(str, folders)),
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        # Without a look for tiktoken's vocabulary on the network.
        "MEMOSTREAM_BUFFER__TOKENIZER": "estimate",
    }


@contextlib.contextmanager
def shared_system(folder: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """The data folder of a system that runs for all pages but those that start their own."""
    with reading(folder, environment) as reader:
        reader.do(Step("run", Block("sh", "memostream up\n", 0, {"background": "worker.started"})))
        yield reader.folder / DATA


@pytest.fixture(scope="module")
def model_endpoint() -> Iterator[str]:
    """The address of a model that knows where people live."""
    server = ScriptedOpenAI(cities, dimension=MODEL_DIMENSION)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(DEADLINE_S)
        yield server.base_url
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(DEADLINE_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def cities(call: Call) -> dict[str, Any] | None:
    """What a model might answer to messages like "I live in Bergen"; a merge takes the newest."""
    if call.kind != "extract":
        return None
    facts = [
        {"topic": "contact_info", "sub_topic": "city", "memo": said[2], "message_indices": [int(said[1])]}
        for said in re.finditer(r"(?m)^(\d+) .*\bI (?:live in|moved to) (\w+)", call.input)
    ]
    return {"facts": facts, "events": [], "summary": facts[0]["memo"] if facts else None}


@pytest.fixture(scope="module")
def visits(
    service_folder: Path, environment: dict[str, str], model_endpoint: str, request: pytest.FixtureRequest
) -> Iterator[Mapping[str, Future[None]]]:
    """The visits of all chosen pages, some at once, for most of a visit is waiting; the long ones begin first."""
    chosen: list[Page] = [
        cast(Page, item.callspec.params["page"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    with contextlib.ExitStack() as stack:

        def begin(pages: Sequence[Page], data: Path | None) -> dict[str, Future[None]]:
            pool = stack.enter_context(ThreadPoolExecutor(VISITS_AT_ONCE))
            return {page.path: pool.submit(visit, page, data) for page in pages}

        def visit(page: Page, data: Path | None) -> None:
            with reading(service_folder / Path(page.path).stem, environment, model_endpoint) as reader:
                if data is not None:
                    (reader.folder / DATA).symlink_to(data)
                for step in page.steps:
                    reader.do(step)

        visits = begin([page for page in chosen if page.own_system], None)
        if others := [page for page in chosen if not page.own_system]:
            data = stack.enter_context(shared_system(service_folder / "pages", environment))
            visits |= begin(others, data)
        yield visits


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES, ids=[page.path for page in PAGES])
def test_every_step_of_a_page_works_in_its_order(page: Page, visits: Mapping[str, Future[None]]) -> None:
    visits[page.path].result()
