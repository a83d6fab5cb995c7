"""The demo and `up`, with their own broker and database, as a person runs them."""

import os
import signal
from pathlib import Path

import httpx
import orjson
import psutil
import pytest

from cli.preparing import Preparer
from tests.support.command_line import CommandLine

CONVERSATIONS = Path(__file__).parents[2] / "cli" / "examples" / "conversations.jsonl"


@pytest.fixture
def shell(tmp_path: Path) -> CommandLine:
    """A shell without any configuration."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEMOSTREAM_")}
    return CommandLine(tmp_path, {**inherited, "COLUMNS": "160", "MEMOSTREAM_BUFFER__TOKENIZER": "estimate"})


def processes_of(folder: Path) -> list[str]:
    """Processes that have the folder in their command line, as a broker and a database of it do."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if str(folder) in command and process.pid != os.getpid():
            found.append(command)
    return found


def test_the_demo_shows_changes_then_profiles_and_leaves_nothing_behind(shell: CommandLine) -> None:
    folder = shell.folder / "data"
    done = shell.run("demo", "--data-dir", str(folder), timeout_s=150)
    changes, _, profiles = done.stdout.partition("profiles, and the messages that each fact came from")
    assert "~ ann  contact_info/city: Bergen → Oslo" in changes
    assert "~ wei  contact_info/city: 北京 → 上海" in changes
    newest = {"Oslo": "ann-4/0", "上海": "wei-3/0", "route setter": "ben-4/0", "童书编辑": "mei-3/0"}
    rows = profiles.splitlines()
    for fact, message in newest.items():
        assert any(fact in row and message in row for row in rows), fact
    assert "extracted offline, by rules" in profiles
    assert "MEMOSTREAM_LLM__API_KEY" in profiles
    assert processes_of(folder) == []


def test_up_serves_the_other_commands_until_it_is_interrupted(shell: CommandLine) -> None:
    folder = shell.folder / "memostream-data"
    with shell.background("up", until="worker.started") as system:
        shell.run("send", "--user", "ann", "I live in Bergen.")
        shell.run("flush", "ann")
        assert "Bergen" in shell.run("profile", "ann").stdout
        second = shell.run("up", fails=True)
        assert second.exit_code == 2
        assert "is in use by process" in second.stderr
        url, token = ((folder / name).read_text().strip() for name in ("gateway-url", "root-token"))
        answer = httpx.get(f"{url}/api/v1/users/context/ann", headers={"Authorization": f"Bearer {token}"})
        assert "Bergen" in answer.json()["data"]["context"]
        assert f"{url}/api/v1/users/context/ann" in system.output()
        assert token not in system.output()
        with shell.background("watch", until="watching; Ctrl-C stops") as watch:
            assert watch.stop(signal.SIGINT) == 130
            assert "Traceback" not in watch.output()
        assert system.stop(signal.SIGINT) == 0
    assert "kcat -P -b 127.0.0.1:" in system.output()
    assert processes_of(folder) == []


def test_the_examples_are_valid_records_in_two_languages_over_several_days() -> None:
    lines = CONVERSATIONS.read_bytes().splitlines()
    preparer = Preparer(project_id=None, max_blob_bytes=1 << 20)
    records = [orjson.loads(preparer.prepare(line).value) for line in lines]
    assert len({record["user_id"] for record in records}) >= 4
    assert len({record["created_at"][:10] for record in records}) >= 5
    assert len({record["id"] for record in records}) == len(records)
    assert [record["created_at"] for record in records] == sorted(record["created_at"] for record in records)
    assert any("\u4e00" <= character <= "\u9fff" for character in CONVERSATIONS.read_text(encoding="utf-8"))
