"""An export says what it is, and is refused whole where anything in it would be lost or cannot be."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from schemas.export import InvalidExport, UserExport, counts_of, months_of, parse_export
from tests.support.json_schema import faults, published

AT = "2026-11-20T12:00:00Z"
ENTRY = {
    "id": str(UUID(int=1)),
    "topic": "work",
    "sub_topic": "company",
    "content": "Acme",
    "occurred_at": AT,
    "recorded_at": AT,
    "created_at": AT,
    "updated_at": AT,
}
GIST = {"id": str(UUID(int=3)), "text": "met Bo", "occurred_at": AT, "recorded_at": AT}
FACT = {"content": "Acme", "attributes": {"topic": "work", "sub_topic": "company"}, "message_ids": ["b1/0"]}
EVENT = {
    "id": str(UUID(int=2)),
    "summary": "a meeting",
    "tags": [{"tag": "mood", "value": "glad"}],
    "profile_delta": [FACT],
    "gists": [GIST],
    "revision": 7,
    "occurred_at": AT,
    "recorded_at": AT,
}
UNIT = {"blob_id": "b1", "blob_type": "chat", "state": "applied", "recorded_at": AT}
PLACE = {"topic": "chat-messages", "partition": 0, "offset": 1, "timestamp_ms": 1}
DOCUMENT: dict[str, Any] = {
    "v": 1,
    "kind": "memostream.user-export",
    "project_id": "default",
    "user_id": "ann",
    "exported_at": AT,
    "revision": 5,
    "created_at": AT,
    "updated_at": AT,
    "profile": [ENTRY],
    "events": [EVENT],
    "units": [UNIT],
}


def refusal(document: Any) -> InvalidExport:
    with pytest.raises(InvalidExport) as caught:
        parse_export(document)
    return caught.value


def test_a_line_is_read_as_what_was_written() -> None:
    memory = parse_export(DOCUMENT)
    assert "\n" not in memory.line()
    assert parse_export(orjson.loads(memory.line())) == memory


def test_what_is_written_fits_the_published_schema() -> None:
    assert faults(DOCUMENT, published("user-export")) == []
    assert faults(orjson.loads(parse_export(DOCUMENT).line()), published("user-export")) == []


def test_the_digest_is_that_of_the_memory_alone() -> None:
    other = {"user_id": "ben", "project_id": "shop", "exported_at": "2027-01-01T00:00:00Z", "revision": 9}
    assert parse_export({**DOCUMENT, **other}).digest() == parse_export(DOCUMENT).digest()
    assert parse_export({**DOCUMENT, "fields": {"plan": "pro"}}).digest() != parse_export(DOCUMENT).digest()
    assert parse_export({**DOCUMENT, "profile": []}).digest() != parse_export(DOCUMENT).digest()


def test_nothing_in_it_is_newer_than_its_newest_revision() -> None:
    assert parse_export(DOCUMENT).newest_revision == 7
    assert parse_export({**DOCUMENT, "revision": 8}).newest_revision == 8


def test_it_is_counted_and_its_months_are_named() -> None:
    memory = parse_export(
        {**DOCUMENT, "units": [UNIT, {**UNIT, "blob_id": "b2", "recorded_at": "2026-09-01T00:00:00Z"}]}
    )
    assert counts_of(memory) == {
        "entries": 1,
        "changes": 0,
        "events": 1,
        "gists": 1,
        "edits": 0,
        "units": 2,
        "blobs": 0,
    }
    assert months_of(memory) == [datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 11, 20, 12, tzinfo=UTC)]


@pytest.mark.parametrize(
    "document", [[], "text", {}, {"user_id": "ann", "blob_data": {}}, {**DOCUMENT, "kind": "dump"}]
)
def test_what_is_no_export_is_foreign(document: Any) -> None:
    assert refusal(document).reason == "foreign"


def test_a_newer_version_is_named_with_the_fix() -> None:
    found = refusal({**DOCUMENT, "v": 2, "added_later": 1})
    assert found.reason == "newer-version"
    assert found.detail == "v is 2, this memostream reads up to 1; upgrade it, then import"


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"v": "1"}, "v: must be a whole number from 1 on"),
        ({"user_id": "x" * 256}, "user_id: must be 1 to 255 bytes long, is 256"),
        ({"project_id": "a/b"}, "project_id: must not hold a slash"),
        ({"exported_at": "12"}, "exported_at: must be a time like"),
        ({"mood": "glad"}, "mood: Extra inputs are not permitted"),
        ({"profile": [{**ENTRY, "mood": "glad"}]}, "profile.0.mood: Extra inputs are not permitted"),
        ({"profile": [ENTRY, {**ENTRY, "id": str(UUID(int=9))}]}, "profile: two have the same topic and sub_topic"),
        ({"profile": [ENTRY, {**ENTRY, "topic": "life"}]}, "profile: two have the same id"),
        ({"events": [EVENT, EVENT]}, "events: two have the same id"),
        ({"events": [{**EVENT, "gists": [GIST, GIST]}]}, "events: two have the same id of a gist"),
        ({"events": [{**EVENT, "profile_delta": [{"content": "Acme"}]}]}, "must hold content, attributes.topic"),
        ({"profile": [{**ENTRY, "topic": "x" * 101}]}, "profile.0.topic: String should have at most 100 characters"),
        ({"profile": [{**ENTRY, "update_hits": 1 << 31}]}, "profile.0.update_hits: Input should be less than"),
        ({"revision": 1 << 63}, "revision: Input should be less than"),
        ({"units": [{**UNIT, "position": {**PLACE, "offset": 1 << 63}}]}, "units.0.position: must be a partition"),
        ({"fields": json.loads('{"a":' * 101 + "1" + "}" * 101)}, "nested more than 100 levels"),
        ({"units": [{**UNIT, "state": "lost"}]}, "units.0.state: Input should be 'applied', 'parked' or 'erased'"),
    ],
)
def test_what_cannot_be_is_named_by_its_field_and_not_quoted(change: dict[str, Any], detail: str) -> None:
    found = refusal({**DOCUMENT, **change})
    assert found.reason == "invalid-export"
    assert detail in found.detail
    assert "Acme" not in found.detail


def test_the_model_is_what_the_schema_says() -> None:
    assert set(published("user-export")["properties"]) == set(UserExport.model_fields)
