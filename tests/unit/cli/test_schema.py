"""`memostream schema`, and the copies in docs/schemas."""

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from cli import main
from cli.schema_files import differing_files, schema_files
from schemas.errors import ConfigurationError, NotFound
from schemas.settings import Settings

COMMITTED = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main.app, ["schema", *arguments])


def test_the_committed_copies_are_those_that_the_models_make() -> None:
    differing = differing_files(schema_files(Settings()), COMMITTED)
    assert not differing, f"docs/schemas: {', '.join(differing)}: run `make schemas`, and remove what it does not write"


def test_what_was_written_is_up_to_date(tmp_path: Path) -> None:
    assert call("--out", "schemas").exit_code == 0
    assert {path.name for path in (tmp_path / "schemas").iterdir()} == schema_files(Settings()).keys()
    assert call("--out", "schemas", "--check").exit_code == 0


def test_the_check_names_what_differs_is_missing_or_left_over_and_writes_nothing(tmp_path: Path) -> None:
    call("--out", "schemas")
    folder = tmp_path / "schemas"
    (folder / "profiles.json").write_text("{}")
    (folder / "asyncapi.yaml").unlink()
    (folder / "old.json").write_text('{"$id": "urn:memostream:schema:old:v1"}')
    (folder / "package.json").write_text("{}")
    result = call("--out", "schemas", "--check")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ["schemas/asyncapi.yaml", "schemas/old.json", "schemas/profiles.json"]
    listed = orjson.loads(call("--out", "schemas", "--check", "--json").stdout)
    assert listed == {"folder": "schemas", "differing": ["asyncapi.yaml", "old.json", "profiles.json"]}
    assert not (folder / "asyncapi.yaml").exists()
    assert (folder / "profiles.json").read_text() == "{}"


def test_the_asyncapi_document_is_of_the_configured_topics_unless_defaults_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("kafka:\n  topic_prefix: shop-\n")
    assert "address: shop-profiles\n" in call("--print", "asyncapi").stdout
    assert "address: profiles\n" in call("--print", "asyncapi", "--defaults").stdout


def test_one_schema_is_printed_under_its_name_or_its_file_name() -> None:
    text = (COMMITTED / "profile-updated.json").read_text()
    assert call("--print", "profile-updated").stdout == text
    assert call("--print", "profile-updated.json").stdout == text


def test_without_options_every_schema_is_listed() -> None:
    names = [name.removesuffix(".json").removesuffix(".yaml") for name in schema_files(Settings())]
    assert [line.split()[0] for line in call().stdout.splitlines()] == names
    assert [orjson.loads(line)["name"] for line in call("--json").stdout.splitlines()] == names


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--print", "profile"], NotFound, "there is no schema profile; there are asyncapi, chat-messages,"),
        (["--check"], ConfigurationError, "name it with --out"),
        (["--print", "profiles", "--out", "schemas"], ConfigurationError, "exclude each other"),
    ],
)
def test_a_call_that_cannot_be_meant_says_what_to_do(
    arguments: list[str], error: type[Exception], message: str
) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    result = call("--out", "taken")
    assert isinstance(result.exception, ConfigurationError)
    assert "taken: cannot be written" in str(result.exception)
