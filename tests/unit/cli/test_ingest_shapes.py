"""What a document is recognised as, and what a mapping and the options make of it."""

from pathlib import Path
from typing import Any

import pytest

from cli.ingest.files import Document
from cli.ingest.plan import reading_of
from cli.ingest.shapes import Shaped, Shapes
from cli.ingest.sources import FieldNames, Given, RecognisedSources, time_format_of
from schemas.errors import ConfigurationError
from schemas.mapping import IngestSettings, IngestSource, SourceDefaults
from schemas.settings import Settings


def read(value: Any, given: Given | None = None) -> Shaped:
    return Shapes(None, RecognisedSources(given or Given()), 10_000).read(Document("f:1", 1, value))


def only(shaped: Shaped) -> dict[str, Any]:
    assert not shaped.refusals
    (record,) = shaped.records
    return record


def said(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in record["blob_data"]["messages"]]


def test_a_record_of_ours_is_taken_as_it_is() -> None:
    record = {"user_id": "ann", "blob_data": {"summary": "s"}, "blob_type": "summary", "own": 1}
    assert only(read(record)) is record


def test_commands_are_refused() -> None:
    (error,) = read({"command": "forget-user", "user_id": "ann"}).refusals
    assert (error.reason, "memostream send and forget send them" in error.detail) == ("command", True)


def test_a_conversation_of_openai_style_loses_what_nobody_said() -> None:
    value = {
        "user": "ann",
        "created": 1_767_261_600,
        "messages": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url"}]},
            {"role": "user", "content": [{"type": "image_url"}]},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "content": "42"},
            {"role": "assistant", "content": "A cat."},
        ],
    }
    record = only(read(value))
    assert (record["user_id"], record["created_at"]) == ("ann", "2026-01-01T10:00:00Z")
    assert said(record) == [("user", "What is this?"), ("assistant", "A cat.")]
    assert "id" not in record


def test_a_conversation_without_words_is_left_out() -> None:
    found = read({"user": "ann", "messages": [{"role": "system", "content": "be kind"}]})
    assert (list(found.records), list(found.refusals), dict(found.ignored)) == ([], [], {"messages": 1})


def test_a_row_is_one_message() -> None:
    record = only(read({"user_id": 7, "role": "human", "content": "hi", "created_at": "2026-01-01 10:00"}))
    assert (record["user_id"], record["created_at"]) == ("7", "2026-01-01T10:00:00Z")
    assert said(record) == [("user", "hi")]


def test_an_id_is_taken_only_from_where_the_caller_says() -> None:
    row = {"id": 1, "user_id": "ann", "role": "user", "content": "hi"}
    assert "id" not in only(read(row))
    assert only(read(row, Given(FieldNames(id="id"))))["id"] == "1"


def test_the_caller_names_fields_also_inside_others_and_what_holds_otherwise() -> None:
    names = FieldNames(user="who.id", content="body text", role="from", time="when.at", session="thread")
    given = Given(names, user_id='o"`b', project_id="shop", role="user")
    value = {"who": {"id": "ann"}, "body text": "hi", "when": {"at": "1767261600000"}, "thread": 5}
    record = only(read(value, given))
    assert (record["user_id"], record["project_id"], record["session_id"]) == ("ann", "shop", "5")
    assert (record["created_at"], said(record)) == ("2026-01-01T10:00:00Z", [("user", "hi")])
    assert only(read({"body text": "hi"}, given))["user_id"] == 'o"`b'


@pytest.mark.parametrize(
    ("value", "reason", "fix"),
    [
        ([1], "invalid-record", "must be a JSON object, is a list"),
        ({"text": "hi"}, "unknown-shape", "--content-field"),
        ({"content": "hi", "role": "user"}, "mapping-failed", "by --user or --user-field, or by --mapping"),
        ({"content": "hi", "user_id": "a"}, "mapping-failed", "by --role or --role-field"),
        ({"content": "hi", "user_id": "a", "role": "robot"}, "mapping-failed", "add the word to roles"),
        ({"content": 5, "user_id": "a", "role": "user"}, "mapping-failed", "by --content-field"),
        ({"content": "x" * 20_000, "user_id": "a", "role": "user"}, "too-large", "buffer.max_blob_bytes"),
        ({"user_id": "a", "content": "hi", "role": "user", "created_at": "now"}, "mapping-failed", "--time-field"),
        ({"mapping": {}, "current_node": "gone"}, "invalid-conversation", "export it once more"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_fix(value: Any, reason: str, fix: str) -> None:
    (error,) = read(value).refusals
    assert error.reason == reason
    assert fix in error.detail


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_767_261_600, "epoch_s"),
        (1_767_261_600.5, "epoch_s"),
        ("1767261600000", "epoch_ms"),
        ("2026-01-01", "rfc3339"),
        (None, "rfc3339"),
        (True, "rfc3339"),
    ],
)
def test_how_a_time_is_written_follows_from_how_it_looks(value: Any, expected: str) -> None:
    assert time_format_of(value) == expected


def settings(*sources: IngestSource) -> Settings:
    return Settings(ingest=IngestSettings(sources=sources))


def mapped(mapping: str, value: Any, folder: Path, given: Given | None = None) -> Shaped:
    file = folder / "mapping.yaml"
    file.write_text(mapping)
    reading = reading_of(settings(), [], given or Given(), mapping_file=file, topic=None, sort=None)
    return reading.shapes.read(Document("f:3", 3, value))


SHARED = (
    "messages: value.conversations\nrole: message.from\ncontent: message.value\nroles: {gpt: assistant, human: user}\n"
)
TALK = {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}


def test_any_other_shape_goes_by_a_mapping(tmp_path: Path) -> None:
    record = only(mapped(f"{SHARED}user_id: value.owner\nsession_id: offset\n", {**TALK, "owner": "ann"}, tmp_path))
    assert (record["user_id"], record["session_id"], record["project_id"]) == ("ann", "3", "default")
    assert said(record) == [("user", "hi"), ("assistant", "hello")]


def test_the_callers_user_and_project_hold_where_a_mapping_yields_none(tmp_path: Path) -> None:
    given = Given(user_id="ann", project_id="shop")
    for mapping in (SHARED, f"{SHARED}user_id: value.owner\n"):
        record = only(mapped(mapping, TALK, tmp_path, given))
        assert (record["user_id"], record["project_id"]) == ("ann", "shop")
    assert (
        only(mapped(f"{SHARED}user_id: value.owner\n", {**TALK, "owner": "bob"}, tmp_path, given))["user_id"] == "bob"
    )


def test_the_mapping_of_a_topic_is_that_of_a_file() -> None:
    source = IngestSource(topic="desk", user_id="value.who", content="value.text", defaults=SourceDefaults(role="user"))
    reading = reading_of(settings(source), [], Given(), mapping_file=None, topic="desk", sort=None)
    assert said(only(reading.shapes.read(Document("f:1", 1, {"who": "ann", "text": "hi"})))) == [("user", "hi")]


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ("a: [", "is no YAML"),
        ("- a", "must hold the keys of one of ingest.sources"),
        ("usr_id: value.a", "did you mean user_id"),
        ("user_id: value.a", "content is missing"),
        ("user_id: who\ncontent: value.b\ndefaults: {role: user}", "did you mean value.who"),
    ],
)
def test_a_mapping_that_cannot_be_read_names_the_key(tmp_path: Path, mapping: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        mapped(mapping, {}, tmp_path)


@pytest.mark.parametrize(
    ("given", "options", "problem"),
    [
        (Given(), {"mapping_file": Path("m.yaml"), "topic": "t"}, "leave one out"),
        (Given(FieldNames(time="ts")), {"mapping_file": Path("m.yaml")}, "what --time-field is to say"),
        (Given(role="user"), {"topic": "t"}, "what --role is to say"),
        (Given(), {"topic": "t"}, "ingest.sources is empty"),
        (Given(), {"mapping_file": Path("nowhere.yaml")}, "nowhere.yaml cannot be read"),
        (Given(user_id=""), {}, "--user: must be 1 to 255 bytes long"),
        (Given(project_id="a/b"), {}, "--project: must not hold a slash"),
    ],
)
def test_options_that_do_not_go_together_are_refused(given: Given, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        reading_of(settings(), [], given, **{"mapping_file": None, "topic": None, "sort": None, **options})
