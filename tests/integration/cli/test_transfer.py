"""`export` and `import` beside a running worker: a project moves with its memory, and the audit stays clean."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.command_line import CommandLine


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def told(working: CommandLine) -> CommandLine:
    """A project of two users."""
    working.call("send", "--project", "shop", "--user", "ann", "I moved to Oslo.")
    working.call("send", "--project", "shop", "--user", "bo", "I work as a baker.")
    working.call("flush", "--all")
    return working


def contents(shell: CommandLine, user: str, project: str) -> list[str]:
    return [entry["content"] for entry in shell.document("profile", user, "--project", project)["entries"]]


def test_a_project_moves_with_everything_and_a_second_import_changes_nothing(told: CommandLine) -> None:
    file = told.folder / "shop.jsonl"
    exported = told.document("export", "--project", "shop", "--out", str(file))
    assert exported["users"] == {"exported": 2}
    assert [line["user_id"] for line in lines_of(file)] == ["ann", "bo"]
    assert file.stat().st_mode & 0o077 == 0

    planned = told.document("import", str(file), "--project", "copy")
    assert (planned["executed"], planned["users"]["imported"]) == (False, 2)
    assert "copy" in told.call("profile", "ann", "--project", "copy", fails=True).stderr
    done = told.document("import", str(file), "--project", "copy", "--execute")
    assert done["users"] == {"imported": 2, "unchanged": 0, "refused": 0}
    assert done["rows"] == planned["rows"] == exported["rows"]
    assert contents(told, "ann", "copy") == contents(told, "ann", "shop")
    again = told.document("import", str(file), "--project", "copy", "--execute")
    assert again["users"] == {"imported": 0, "unchanged": 2, "refused": 0}
    assert again["rows"] == {}

    why = told.document("why", "ann", "contact_info", "city", "--project", "copy")
    (change,) = why["changes"]
    (message,) = change["messages"]
    assert (change["after"], change["extractor"]["name"]) == ("Oslo", "offline")
    assert "Oslo" in message["quotes"][0]
    # The user goes on where the import left off.
    told.call("send", "--project", "copy", "--user", "ann", "I moved to Bergen.")
    told.call("flush", "ann", "--project", "copy")
    assert "Bergen" in contents(told, "ann", "copy")
    assert "Oslo" not in contents(told, "ann", "copy")
    audit = told.document("audit")
    assert audit["agrees"], audit


def test_what_is_remembered_here_stays_and_the_other_users_come(told: CommandLine) -> None:
    file = told.folder / "shop.jsonl"
    told.call("export", "--project", "shop", "--out", str(file))
    told.call("send", "--project", "other", "--user", "ann", "I live in Paris.")
    told.call("flush", "ann", "--project", "other")
    found = told.document("import", str(file), "--project", "other", "--execute", fails=True)
    assert found["users"] == {"imported": 1, "unchanged": 0, "refused": 1}
    assert found["refused_by"] == {"holds-memory": 1}
    assert found["refused"][0]["place"] == "line 1, other/ann"
    assert "Paris" in contents(told, "ann", "other")
    assert "Oslo" not in contents(told, "ann", "other")
    assert contents(told, "bo", "other") == contents(told, "bo", "shop")


def test_lines_that_are_no_export_are_named_and_stop_no_other(told: CommandLine) -> None:
    file = told.folder / "mixed.jsonl"
    told.call("export", "ann", "--project", "shop", "--out", str(file))
    (ann,) = lines_of(file)
    newer = orjson.dumps({**ann, "v": 2})
    file.write_bytes(b"\n".join([b'{"user_id": "ann"}', b"{", newer, orjson.dumps(ann), b""]))
    refused = told.call("import", str(file), "--project", "mixed", fails=True)
    assert "would import 1 user" in refused.stdout
    assert "refused: 3 users (foreign 2, newer-version 1)" in refused.stdout
    assert "line 1: foreign: is no export of memostream" in refused.stderr
    assert "line 2: foreign: is no JSON" in refused.stderr
    assert "line 3: newer-version: v is 2" in refused.stderr


def test_an_export_stands_on_stdout_alone(told: CommandLine) -> None:
    done = told.call("export", "ann", "--project", "shop")
    assert orjson.loads(done.stdout)["user_id"] == "ann"
    assert "exported 1 user" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "nobody"], "nothing is remembered of nobody in project default"),
        (["export", "--project", "empty"], "there are no users in project empty"),
        (
            ["export", "ann", "--project", "shop", "--out", "no/folder/ann.jsonl"],
            "--out: no/folder/ann.jsonl cannot be",
        ),
        (["export", "ann", "--json"], "--json goes with --out"),
        (["import", "no-file.jsonl"], "no-file.jsonl cannot be read: No such file or directory"),
        (["import", "empty.jsonl"], "empty.jsonl is empty"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(told: CommandLine, arguments: list[str], words: str) -> None:
    (told.folder / "empty.jsonl").write_bytes(b"\n")
    refused = told.call(*arguments, fails=True)
    assert words in refused.stderr
    assert not list(told.folder.glob("*.part"))
