"""Lines become records with ids that follow from their content."""

from typing import Any

import orjson
import pytest

from cli.preparing import Preparer, message_record
from schemas.errors import InvalidRecord

LINE = {
    "user_id": "ann",
    "created_at": "2026-11-20T10:00:00Z",
    "blob_data": {"messages": [{"role": "user", "content": "a"}]},
}


def ids(*documents: dict[str, Any], project_id: str | None = None) -> list[str]:
    preparer = Preparer(project_id=project_id, max_blob_bytes=10_000)
    return [orjson.loads(preparer.prepare(orjson.dumps(document)).value)["id"] for document in documents]


def test_the_same_input_has_the_same_ids_again() -> None:
    documents = [LINE, {**LINE, "user_id": "ben"}, LINE]
    assert ids(*documents) == ids(*documents)


def test_equal_records_of_one_input_stay_apart() -> None:
    assert len(set(ids(LINE, LINE, LINE))) == 3


def test_user_project_time_and_content_are_in_the_id() -> None:
    others = [
        {**LINE, "user_id": "ben"},
        {**LINE, "project_id": "shop"},
        {**LINE, "created_at": "2026-11-20T10:00:01Z"},
        {**LINE, "blob_data": {"messages": [{"role": "user", "content": "b"}]}},
    ]
    assert len({ids(document)[0] for document in [LINE, *others]}) == 5


def test_the_way_a_time_is_written_does_not_matter() -> None:
    assert ids({**LINE, "created_at": "2026-11-20T11:00:00+01:00"}) == ids(LINE)


def test_an_id_of_the_producer_is_kept() -> None:
    assert ids({**LINE, "id": "mine"}) == ["mine"]


def test_keys_that_we_do_not_know_travel_on() -> None:
    value = Preparer(project_id=None, max_blob_bytes=10_000).prepare(orjson.dumps({**LINE, "extra": 1})).value
    assert orjson.loads(value)["extra"] == 1


def test_the_key_is_the_user_id() -> None:
    prepared = Preparer(project_id=None, max_blob_bytes=10_000).prepare(orjson.dumps({**LINE, "user_id": "李梅"}))
    assert prepared.key == "李梅".encode()


def test_a_project_is_given_only_to_records_that_name_none() -> None:
    preparer = Preparer(project_id="shop", max_blob_bytes=10_000)
    named = preparer.prepare(orjson.dumps({**LINE, "project_id": "own"})).value
    unnamed = preparer.prepare(orjson.dumps(LINE)).value
    assert [orjson.loads(value)["project_id"] for value in (named, unnamed)] == ["own", "shop"]


def test_a_command_keeps_its_form_and_gets_no_id() -> None:
    line = orjson.dumps({"command": "flush", "user_id": "ann"})
    assert orjson.loads(Preparer(project_id=None, max_blob_bytes=10_000).prepare(line).value) == {
        "command": "flush",
        "user_id": "ann",
    }


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "invalid-json"),
        (b"\xff{}", "invalid-utf8"),
        (b"[]", "invalid-record"),
        (b'{"blob_data": {"messages": []}}', "invalid-record"),
        (b'{"v": 9, "user_id": "u"}', "newer-version"),
        (b'{"user_id": "u", "blob_type": "song"}', "unknown-blob-type"),
        (orjson.dumps({**LINE, "fields": {"x": "y" * 10_000}}), "too-large"),
    ],
)
def test_a_bad_line_is_refused_with_the_reason_of_its_dead_letter(line: bytes, reason: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        Preparer(project_id="p", max_blob_bytes=10_000).prepare(line)
    assert caught.value.reason == reason


def test_a_message_carries_the_reply_and_the_session() -> None:
    line = message_record(
        "hi", user_id="ann", role="user", assistant="hello", session_id="s", created_at="2026-11-20T10:00:00Z"
    )
    document = orjson.loads(line)
    assert document["session_id"] == "s"
    assert document["blob_data"]["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
    ]
