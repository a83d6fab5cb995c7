"""Replies are found among other text, validated whole, and never repaired by guessing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from extraction.replies import (
    CompactReply,
    ExtractReply,
    InvalidReply,
    MergeReply,
    OrganizeReply,
    UntaggedExtractReply,
    read_reply,
    strict_schema,
)

FACT = {"topic": "Interest", "sub_topic": "Fast foods", "memo": " likes\n tea\x00 ", "message_indices": [1, 0, 1]}
REPLY = {"facts": [FACT], "events": [], "summary": ""}


def read(document: Any, count: int = 2) -> ExtractReply:
    return read_reply(document if isinstance(document, str) else json.dumps(document), ExtractReply, count)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(REPLY),
        f"```json\n{json.dumps(REPLY)}\n```",
        f"<think>maybe {{}} or {json.dumps({'facts': []})}</think>\n{json.dumps(REPLY)}",
        f"maybe {json.dumps({'facts': []})}</think>\n{json.dumps(REPLY)}",
        f"<think>maybe {json.dumps({'facts': []})}, no, better {json.dumps(REPLY)}",
        f"<reasoning>so</reasoning><think>and so</think>{json.dumps(REPLY)}",
        f"{json.dumps(REPLY)}</think>",
        f"Sure {{here}} it is: {json.dumps(REPLY)} Anything else?",
    ],
)
def test_the_object_is_found_among_other_text(text: str) -> None:
    assert [fact.memo for fact in read(text).facts] == ["likes tea"]


def test_names_and_texts_are_brought_into_one_form() -> None:
    reply = read(REPLY)
    assert (reply.facts[0].topic, reply.facts[0].sub_topic) == ("interest", "fast_foods")
    assert reply.facts[0].message_indices == [0, 1]
    assert reply.summary is None


def test_no_name_holds_what_parts_the_statements_of_a_memo() -> None:
    assert read({"facts": [{**FACT, "sub_topic": "tea; milk；rice"}]}).facts[0].sub_topic == "tea_milk_rice"


@pytest.mark.parametrize("indices", [[], [2], [-1], ["x"], None])
def test_unknown_message_indices_are_refused(indices: object) -> None:
    with pytest.raises(InvalidReply, match="message_indices"):
        read({"facts": [{**FACT, "message_indices": indices}]})


@pytest.mark.parametrize("field", ["topic", "sub_topic", "memo"])
def test_an_empty_name_or_memo_is_refused(field: str) -> None:
    with pytest.raises(InvalidReply, match=field):
        read({"facts": [{**FACT, field: " "}]})


@pytest.mark.parametrize("text", ["", "no", "{", '{"facts": [', "[]", '{"other": 1}', "{" * 1000])
def test_a_reply_without_the_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidReply):
        read(text)


def test_the_error_quotes_nothing_of_the_reply() -> None:
    with pytest.raises(InvalidReply) as caught:
        read({"facts": [{"topic": "secret", "memo": 7}]})
    assert "secret" not in str(caught.value)


def event(occurred_at: object) -> dict[str, Any]:
    return {"facts": [], "events": [{"gist": "moved", "message_indices": [0], "occurred_at": occurred_at}]}


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:00:00+03:00", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2019", datetime(2019, 1, 1, tzinfo=UTC)),
        ("2019-05", datetime(2019, 5, 1, tzinfo=UTC)),
        (" ", None),
        (None, None),
    ],
)
def test_dates_are_in_utc_and_may_end_after_the_year_or_the_month(sent: object, read_as: datetime | None) -> None:
    assert read(event(sent)).events[0].occurred_at == read_as


@pytest.mark.parametrize("sent", [2019, "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "2019-13", "soon"])
def test_a_time_that_is_none_or_that_no_column_takes_is_refused(sent: object) -> None:
    with pytest.raises(InvalidReply, match="occurred_at"):
        read(event(sent))


def test_a_reply_of_megabytes_without_an_answer_is_read_once() -> None:
    with pytest.raises(InvalidReply):
        read("a" * 4_000_000)


def test_a_number_of_endless_digits_is_refused() -> None:
    text = json.dumps({"facts": [{**FACT, "message_indices": [7]}]}).replace("[7]", f"[{'1' * 5000}]")
    with pytest.raises(InvalidReply):
        read(text)


@pytest.mark.parametrize(
    "decisions",
    [
        [],
        [{"index": 0, "action": "append"}],
        [{"index": 0, "action": "append"}, {"index": 0, "action": "abort"}],
        [{"index": 0, "action": "append"}, {"index": 2, "action": "abort"}],
        [{"index": 0, "action": "append"}, {"index": 1, "action": "update", "memo": " "}],
        [{"index": 0, "action": "append"}, {"index": 1, "action": "delete"}],
    ],
)
def test_a_merge_reply_must_decide_on_every_item_once(decisions: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidReply):
        read_reply(json.dumps({"decisions": decisions}), MergeReply, 2)


def objects_in(schema: Any) -> list[dict[str, Any]]:
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    own = [schema] if isinstance(schema, dict) and "properties" in schema else []
    return own + [found for part in parts for found in objects_in(part)]


@pytest.mark.parametrize(
    ("model", "count"),
    [(ExtractReply, 4), (UntaggedExtractReply, 3), (MergeReply, 2), (OrganizeReply, 2), (CompactReply, 2)],
)
def test_the_schema_requires_every_field_and_allows_no_other(model: type[BaseModel], count: int) -> None:
    found = objects_in(strict_schema(model))
    assert len(found) == count
    for part in found:
        assert part["required"] == list(part["properties"])
        assert part["additionalProperties"] is False
        assert "$ref" not in json.dumps(part)


def test_tags_are_asked_for_only_where_there_are_any() -> None:
    assert '"tags"' in json.dumps(strict_schema(ExtractReply))
    assert '"tags"' not in json.dumps(strict_schema(UntaggedExtractReply))
    text = json.dumps({"facts": [], "events": [{"gist": "moved", "message_indices": [0]}]})
    assert read_reply(text, UntaggedExtractReply, 1).events[0].tags == []
