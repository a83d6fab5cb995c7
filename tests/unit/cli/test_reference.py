"""The example file and the reference pages say what the settings' models say."""

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, Field, ValidationError

from cli import reference
from cli.reference import ROOT, Documented, every_key
from cli.reference_types import type_of
from schemas.memobase_keys import MEMOBASE_KEYS, MEMOBASE_VARIABLES
from schemas.settings import Settings, load_settings

KEYS = list(every_key(Settings))


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in reference.generated()])
def test_a_committed_file_is_what_the_settings_give(path: Path) -> None:
    written = (ROOT / path).read_text(encoding="utf-8")
    assert written == reference.generated()[path], f"{path} is out of date: run `make reference`"


@pytest.mark.parametrize("key", [pytest.param(key, id=".".join(key.path)) for key in KEYS])
def test_every_key_is_described(key: Documented) -> None:
    assert key.description.endswith((".", "!", "…"))


def test_a_key_without_a_description_is_refused() -> None:
    class Silent(BaseModel):
        quiet: int = 3

    with pytest.raises(ValueError, match=r"section\.quiet has no description"):
        _ = [key.description for key in every_key(Silent, ("section",))]


def test_every_key_stands_on_the_page_with_its_default() -> None:
    page = reference.reference_page()
    for key in KEYS:
        rows = [line for line in page.splitlines() if line.startswith(f"| `{key.path[-1]}`")]
        assert any(f"| {key.default} |" in row.replace("`", "") for row in rows), key.path


def test_every_key_of_a_section_stands_on_the_page_with_its_variable() -> None:
    page = reference.reference_page()
    for key in (key for key in KEYS if len(key.path) == 2):
        assert f"`MEMOSTREAM_{key.path[0].upper()}__{key.path[1].upper()}`" in page


def test_the_example_file_holds_every_key_of_a_section_with_its_default(tmp_path: Path) -> None:
    example = ROOT / "config.yaml.example"
    document = yaml.safe_load(example.read_text(encoding="utf-8"))
    assert [(section, key) for section in document for key in document[section]] == [
        key.path for key in KEYS if len(key.path) == 2
    ]
    assert load_settings(example, {}, tmp_path / ".env") == Settings()


def _examples() -> list[Any]:
    return [pytest.param(key, example, id=key.path[-1]) for key in KEYS for example in key.examples]


@pytest.mark.parametrize(("key", "example"), _examples())
def test_an_example_is_a_value_that_its_key_takes(key: Documented, example: object) -> None:
    document: Any = example
    for name in reversed(key.path):
        document = {name: document}
    assert Settings.model_validate(document) != Settings()


class Inner(BaseModel):
    """Of a source."""

    name: str = Field(description="its name")
    words: dict[str, int] = Field({}, description="how often each was said")


class Outer(BaseModel):
    """A section with all shapes."""

    sources: tuple[Inner, ...] = Field((), description="what is read")
    limit: float | None = Field(None, gt=0, le=5, description="of all")


def test_models_inside_lists_are_documented_key_by_key() -> None:
    assert [key.path for key in every_key(Outer, ("section",))] == [
        ("section", "sources"),
        ("section", "sources", "name"),
        ("section", "sources", "words"),
        ("section", "limit"),
    ]


def test_types_are_told_in_words() -> None:
    told = {
        key.path[-1]: type_of(key.path[-1], key.field)
        for key in [*every_key(Outer, ("section",)), *(key for key in KEYS if len(key.path) == 2)]
    }
    assert told["sources"] == "list of mappings"
    assert told["words"] == "mapping of text to whole number"
    assert told["limit"] == "number above 0, 5 or less, or null"
    assert told["session_timeout_s"] == "number above 0, seconds"
    assert told["log_level"] == "debug, info, warning or error"
    assert told["database_url"] == "secret text"


def test_no_secret_stands_in_a_generated_file() -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"storage": {"database_url": "postgresql://user:hunter2@host/db"}})
    for text in reference.generated().values():
        assert "password@" not in text


def test_a_page_keeps_what_stands_around_its_generated_parts() -> None:
    page = "before\n<!-- begin: keys, of old -->\nold\n<!-- end: keys -->\nafter\n"
    written = reference.with_parts(page, {"keys": "new"})
    assert written == "before\n<!-- begin: keys, of old -->\n\nnew\n\n<!-- end: keys -->\nafter\n"
    assert reference.with_parts(written, {"keys": "new"}) == written


def test_a_page_that_lost_its_comments_is_refused() -> None:
    with pytest.raises(ValueError, match="begin: keys"):
        reference.with_parts("before\n", {"keys": "new"})


def test_the_page_for_memobases_users_tells_of_every_key_and_variable() -> None:
    page = (ROOT / reference.MEMOBASE_PAGE).read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in [*MEMOBASE_KEYS, *MEMOBASE_VARIABLES])
