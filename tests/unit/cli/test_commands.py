"""The program as a shell sees it: help, options, exit codes."""

import os
import re
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
import typer
from typer.testing import CliRunner

from cli import main
from cli.flushing import flush_command
from cli.sending import open_sources
from schemas.errors import ConfigurationError, NotFound, RetryLater

COMMANDS = [
    "up",
    "demo",
    "worker",
    "migrate",
    "send",
    "ingest",
    "watch",
    "profile",
    "events",
    "why",
    "flush",
    "audit",
    "usage",
    "schema",
]
PRINTS_DATA = ["migrate", "send", "ingest", "watch", "profile", "events", "why", "flush", "audit", "usage", "schema"]


def help_of(*arguments: str) -> str:
    result = CliRunner().invoke(main.app, [*arguments, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def test_help_lists_every_command() -> None:
    listed = help_of()
    assert [name for name in COMMANDS if re.search(rf"│ {name} ", listed)] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_examples_and_the_configuration_option(command: str) -> None:
    text = help_of(command)
    assert "Examples" in text
    assert f"memostream {command}" in text
    assert "--config" in text


@pytest.mark.parametrize("command", PRINTS_DATA)
def test_every_command_that_prints_data_can_print_json(command: str) -> None:
    assert "--json" in help_of(command)


@pytest.mark.parametrize("command", ["show", "set", "clear"])
def test_the_commands_of_a_project_show_examples_and_can_print_json(command: str) -> None:
    text = help_of("project", "config", command)
    assert f"memostream project config {command}" in text
    assert "--json" in text


def test_help_imports_no_client_of_kafka_or_postgres() -> None:
    code = (
        "import sys; sys.argv = ['memostream', '--help']\n"
        "from cli.main import run\n"
        "try: run()\n"
        "except SystemExit: pass\n"
        "heavy = ('aiokafka', 'sqlalchemy', 'faust', 'openai', 'pydantic_settings', 'ijson')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(ConfigurationError("the key is wrong"), 2), (NotFound("nothing is known of ann"), 1)],
)
def test_our_own_errors_are_one_line_and_an_exit_code(
    error: Exception, exit_code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(fail)
    monkeypatch.setattr(main, "app", app)
    monkeypatch.setattr(sys, "argv", ["memostream"])
    with pytest.raises(SystemExit) as caught:
        main.run()
    assert caught.value.code == exit_code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_whoever_cannot_connect_is_told_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RetryLater("the broker is away")

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(fail)
    monkeypatch.setattr(main, "app", app)
    monkeypatch.setattr(sys, "argv", ["memostream"])
    with pytest.raises(SystemExit) as caught:
        main.run()
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"error: the broker is away\n{main.ADVICE}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "--user", "ann", b"caf\xe9"],
        ["send", "--user", b"caf\xe9", "hello"],
        ["profile", b"caf\xe9"],
        ["flush", b"caf\xe9"],
    ],
)
def test_an_argument_that_is_no_utf8_is_an_error_that_says_so(arguments: list[str | bytes]) -> None:
    done = subprocess.run([sys.executable, "-m", "cli.main", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"error: argument \d is no UTF-8; .*\n", done.stderr)


def test_a_file_may_have_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.jsonl"
    Path(os.fsdecode(name)).touch()
    main.refuse_undecodable(["send", os.fsdecode(name)])


def test_a_folder_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder"):
        open_sources([str(tmp_path)])


async def test_what_comes_through_a_pipe_with_a_name_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(b"one\ntwo\n",))
    writer.start()
    given = open_sources([str(pipe)])
    assert given.total_bytes is None
    assert [line async for batch in given.batches for line in batch.lines if line] == [b"one", b"two"]
    writer.join()


@pytest.mark.parametrize("named", [[], ["work"], ["--event", "8b0c0f6e-3c1a-4b47-9a53-0c0f7d9a1e11", "work", "title"]])
def test_why_wants_either_a_slot_or_an_event(named: list[str]) -> None:
    assert CliRunner().invoke(main.app, ["why", "ann", *named]).exit_code == 2


def test_an_unknown_key_of_the_configuration_file_is_reported_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("kafka: {partitons: 3}")
    result = CliRunner().invoke(main.app, ["profile", "ann", "--config", str(file)], env={"COLUMNS": "200"})
    assert isinstance(result.exception, ConfigurationError)
    assert "did you mean kafka.partitions?" in str(result.exception)


def test_flush_wants_either_a_user_or_everybody() -> None:
    assert CliRunner().invoke(main.app, ["flush"]).exit_code == 2
    assert CliRunner().invoke(main.app, ["flush", "ann", "--all"]).exit_code == 2


@pytest.mark.parametrize(("project", "user"), [("a/b", "ann"), ("default", ""), ("default", "x" * 256)])
def test_a_flush_of_a_user_who_cannot_be_is_an_error_of_the_caller(project: str, user: str) -> None:
    with pytest.raises(ConfigurationError, match="_id: "):
        flush_command(project, user, 1)


def test_options_of_a_message_need_a_user() -> None:
    result = CliRunner().invoke(main.app, ["send", "hello", "--assistant", "hi"], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "--user" in result.output


def test_text_without_a_user_is_taken_for_a_file_and_the_error_says_so() -> None:
    result = CliRunner().invoke(main.app, ["send", "I moved to Oslo"])
    assert isinstance(result.exception, ConfigurationError)
    assert "--user" in str(result.exception)
