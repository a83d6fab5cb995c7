"""What the README shows works as it stands there: its clients against a running system, its commands and its links."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import app
from tests.support.command_line import Background, CommandLine

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ["README.md", "CHANGELOG.md", "docs/design.md", "docs/delivery.md", "docs/glossary.md"]
ADDRESS = "127.0.0.1:9092"
TOPICS = ("chat-messages", "profile-updated", "event-updated", "profiles")
DEADLINE_S = 60


@pytest.fixture
def shell(tmp_path: Path, kafka_bootstrap: str, database_url: str, topic_prefix: str) -> Iterator[CommandLine]:
    shell = CommandLine.of(tmp_path, kafka=kafka_bootstrap, database_url=database_url, prefix=topic_prefix)
    with shell.background("worker", until="worker.started"):
        yield shell


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def block(word: str) -> str:
    """The one Python block of the README that holds this word."""
    (found,) = (text for text in python_blocks() if word in text)
    return found


def of_installation(code: str, shell: CommandLine) -> str:
    """The same code with the address and the topics of the test's installation."""
    assert ADDRESS in code
    code = code.replace(ADDRESS, shell.environment["MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS"])
    prefix = shell.environment["MEMOSTREAM_KAFKA__TOPIC_PREFIX"]
    for topic in TOPICS:
        code = code.replace(f'"{topic}"', f'"{prefix}{topic}"')
    return code.replace('"my-', f'"{prefix}my-')


def run_to_end(code: str, shell: CommandLine) -> None:
    subprocess.run([sys.executable, "-c", of_installation(code, shell)], check=True, timeout=DEADLINE_S)


def first_output(code: str, shell: CommandLine, text: str) -> str:
    """Run a consumer, which never ends, until it prints the text."""
    log = shell.folder / f"{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        command = [sys.executable, "-c", of_installation(code, shell)]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    consumer = Background(process, log)
    try:
        consumer.wait_for(text)
        return consumer.output()
    finally:
        process.kill()
        process.wait()


def test_the_python_clients_of_the_readme_produce_and_consume(shell: CommandLine) -> None:
    run_to_end(block("AIOKafkaProducer"), shell)
    run_to_end(block("import Producer"), shell)
    shell.call("flush", "ann")
    shell.call("flush", "ben")
    changes = first_output(block("AIOKafkaConsumer"), shell, "Oslo")
    assert "ann c {" in changes
    profiles = first_output(block("import Consumer"), shell, "default/ben")
    assert "'content': 'Ben'" in profiles


def test_every_consumer_of_the_readme_reads_committed_records_only() -> None:
    consumers = [text for text in python_blocks() if "Consumer" in text]
    assert len(consumers) == 2
    assert all("read_committed" in text for text in consumers)


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"memostream ([a-z]+)\b", README))
    known = {command.callback.__name__ for command in app.registered_commands if command.callback is not None}
    assert named <= known | {"demo"}
    assert known <= named | {"events"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_to_a_file_or_a_heading_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]*(?:#[^)]*)?)\)", text):
        path, _, heading = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target
