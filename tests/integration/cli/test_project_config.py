"""`memostream project config`: what is set is what is shown, and what is wrong changes nothing."""

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

RIGHT = "# our plans\nprofile_strict_mode: true\noverwrite_user_profiles:\n- {topic: Plan, sub_topics: [tier]}\n"
WRONG = "language: en\nadditional_user_profiles:\n- topic: plan\n"


@pytest.fixture
def file(shell: CommandLine) -> Path:
    path = shell.folder / "shop.yaml"
    path.write_text(RIGHT, encoding="utf-8")
    return path


def config(shell: CommandLine, *arguments: str, fails: bool = False) -> str:
    done = shell.call("project", "config", *arguments, fails=fails)
    return done.stderr if fails else done.stdout


def test_what_is_set_is_shown_as_it_was_written_until_it_is_cleared(shell: CommandLine, file: Path) -> None:
    assert "profile_strict_mode" in config(shell, "set", "shop", file.name)
    assert config(shell, "show", "shop") == RIGHT
    shown = shell.document("project", "config", "show", "shop")
    assert (shown["profile_config"], shown["problem"], shown["policy"]["strict"]) == (RIGHT, None, True)
    assert shown["policy"]["slots"] == [{"topic": "plan", "sub_topics": [{"name": "tier"}]}]
    other = shell.document("project", "config", "show", "blog")
    assert (other["profile_config"], other["policy"]["strict"]) == (None, False)
    assert shell.document("project", "config", "clear", "shop") == {"project_id": "shop", "cleared": True}
    assert shell.document("project", "config", "clear", "shop")["cleared"] is False
    assert config(shell, "show", "shop") == ""


def test_what_is_wrong_is_named_and_leaves_what_was_set(shell: CommandLine, file: Path) -> None:
    config(shell, "set", "shop", file.name)
    file.write_text(WRONG, encoding="utf-8")
    assert "additional_user_profiles, topic 1, sub_topics: is missing (line 3)" in config(
        shell, "set", "shop", file.name, fails=True
    )
    assert config(shell, "show", "shop") == RIGHT


def test_a_dry_run_changes_nothing_and_a_text_may_come_through_a_pipe(shell: CommandLine) -> None:
    arguments = ("project", "config", "set", "shop", "-")
    assert "is right" in shell.run(*arguments, "--dry-run", stdin=RIGHT.encode()).stdout
    assert config(shell, "show", "shop") == ""
    shell.run(*arguments, stdin=RIGHT.encode())
    assert config(shell, "show", "shop") == RIGHT


@pytest.mark.parametrize(
    ("project", "content", "told"),
    [
        ("a/b", RIGHT.encode(), "must not hold a slash"),
        ("shop", b"\xff", "is no UTF-8 text"),
        ("shop", None, "cannot be read (FileNotFoundError)"),
    ],
)
def test_what_cannot_be_set_is_an_error_of_the_caller(
    shell: CommandLine, project: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        (shell.folder / "c.yaml").write_bytes(content)
    assert told in config(shell, "set", project, "c.yaml", fails=True)
