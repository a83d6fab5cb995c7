"""Records of other people's topics become blobs, or are refused with the field and the expression."""

from datetime import datetime
from typing import Any

import orjson
import pytest

from schemas.mapping_blobs import MappedRecord, Refusal
from schemas.mapping_fields import MAX_BLOBS_FACTOR, MAX_LISTED, MAX_MESSAGES
from schemas.records import parse_record
from tests.support.sources import LINES, TICKETS, mapped, source, ticket


def only(record: MappedRecord) -> dict[str, Any]:
    """The one blob's value; checks that it is a record of chat-messages."""
    assert record.refusals == []
    assert len(record.blobs) == 1
    value: dict[str, Any] = orjson.loads(record.blobs[0].value)
    assert parse_record(value) == record.blobs[0].blob
    return value


def texts(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in document["blob_data"]["messages"]]


def only_refusal(record: MappedRecord) -> Refusal:
    assert record.blobs == []
    (refusal,) = record.refusals
    return refusal


def test_a_nested_record_with_several_messages_and_other_names_becomes_one_chat() -> None:
    value = ticket(("customer", "I moved to Oslo"), ("bot", "Typing"), ("agent", "Nice"), ("user", "Yes"))
    document = only(mapped(value, source(TICKETS)))
    assert document == {
        "v": 1,
        "id": "record",
        "project_id": "default",
        "user_id": "ann",
        "blob_type": "chat",
        "created_at": "2026-11-18T11:06:40Z",
        "blob_data": {
            "messages": [
                {"role": "user", "content": "I moved to Oslo"},
                {"role": "assistant", "content": "Nice"},
                {"role": "user", "content": "Yes"},
            ]
        },
    }


def test_each_makes_a_blob_of_every_item_whoever_it_is_of() -> None:
    mapping = source(each="value.lines", user_id="item.who", content="item.text", session_id="value.room")
    value = {"room": "r1", "lines": [{"who": "ann", "text": "one"}, {"who": 7, "text": "two"}]}
    record = mapped(value, mapping)
    documents = [orjson.loads(blob.value) for blob in record.blobs]
    assert [(d["id"], d["user_id"], d["session_id"], texts(d)) for d in documents] == [
        ("record/0", "ann", "r1", [("user", "one")]),
        ("record/1", "7", "r1", [("user", "two")]),
    ]
    assert [blob.item for blob in record.blobs] == [0, 1]


def test_an_item_that_fails_takes_no_other_with_it() -> None:
    mapping = source(each="value", user_id="item.who", content="item.text")
    record = mapped([{"who": "ann", "text": "one"}, {"text": "two"}, "three", {"who": "bob", "text": "four"}], mapping)
    assert [blob.item for blob in record.blobs] == [0, 3]
    assert [(refusal.item, refusal.field, refusal.expression) for refusal in record.refusals] == [
        (1, "user_id", "item.who"),
        (2, "user_id", "item.who"),
    ]


def test_every_field_can_be_mapped_from_the_value_the_key_and_the_headers() -> None:
    mapping = source(
        user_id="key.user",
        project_id="headers.tenant",
        id="value.message_id",
        session_id="value.session",
        created_at="value.at",
        fields="{channel: value.channel, from: topic, place: [partition, offset]}",
        role="value.role",
        alias="value.name",
        message_created_at="value.at",
        defaults=None,
    )
    value = {"message_id": 12, "session": 3, "at": "2026-11-20T10:00:00+01:00", "channel": "web", "role": "assistant"}
    record = mapped(
        {**value, "name": "Eve", "text": "hello"},
        mapping,
        key={"user": "ann"},
        headers={"tenant": "shop"},
        partition=4,
        offset=9,
    )
    assert only(record) == {
        "v": 1,
        "id": "12",
        "project_id": "shop",
        "user_id": "ann",
        "blob_type": "chat",
        "created_at": "2026-11-20T09:00:00Z",
        "session_id": "3",
        "fields": {"channel": "web", "from": "lines", "place": [4, 9]},
        "blob_data": {
            "messages": [
                {"role": "assistant", "content": "hello", "alias": "Eve", "created_at": "2026-11-20T10:00:00+01:00"}
            ]
        },
    }


def test_defaults_stand_in_for_what_is_missing_and_for_nothing_else() -> None:
    defaults = {"project_id": "p", "session_id": "s", "role": "assistant", "alias": "Bo", "fields": {"a": 1}}
    mapping = source(
        project_id="value.project",
        session_id="value.session",
        role="value.role",
        alias="value.alias",
        fields="value.fields",
        defaults=defaults,
    )
    missing = only(mapped({"user": "ann", "text": "hi"}, mapping))
    assert [missing[name] for name in ("project_id", "session_id", "fields")] == ["p", "s", {"a": 1}]
    assert missing["blob_data"]["messages"] == [{"role": "assistant", "content": "hi", "alias": "Bo"}]
    given = {"project": "q", "session": "t", "role": "user", "alias": "Al", "fields": {"b": 2}}
    document = only(mapped({"user": "ann", "text": "hi", **given}, mapping))
    assert [document[name] for name in ("project_id", "session_id", "fields")] == ["q", "t", {"b": 2}]
    assert document["blob_data"]["messages"] == [{"role": "user", "content": "hi", "alias": "Al"}]


def test_a_time_that_is_not_mapped_stays_that_of_the_record() -> None:
    assert "created_at" not in only(mapped({"user": "ann", "text": "hi"}, source()))
    absent = only(mapped({"user": "ann", "text": "hi"}, source(created_at="value.at", time_format="epoch_s")))
    assert "created_at" not in absent


@pytest.mark.parametrize(
    ("time_format", "at", "expected"),
    [
        ("rfc3339", "2026-11-20T10:00:00Z", "2026-11-20T10:00:00+00:00"),
        ("rfc3339", "2026-11-20 10:00:00.5+02:00", "2026-11-20T08:00:00.500000+00:00"),
        ("epoch_s", 1_795_000_000, "2026-11-18T11:06:40+00:00"),
        ("epoch_s", 1_795_000_000.25, "2026-11-18T11:06:40.250000+00:00"),
        ("epoch_ms", 1_795_000_000_123, "2026-11-18T11:06:40.123000+00:00"),
        ("epoch_ms", "1795000000123", "2026-11-18T11:06:40.123000+00:00"),
        ("epoch_ms", -1, "1969-12-31T23:59:59.999000+00:00"),
    ],
)
def test_times_are_read_in_the_format_that_is_set(time_format: str, at: Any, expected: str) -> None:
    mapping = source(created_at="value.at", time_format=time_format)
    document = only(mapped({"user": "ann", "text": "hi", "at": at}, mapping))
    assert datetime.fromisoformat(document["created_at"]) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("time_format", "at", "complaint"),
    [
        ("rfc3339", 1_795_000_000, "yields a number; set time_format to epoch_s or epoch_ms"),
        ("rfc3339", "yesterday", "must be a time like"),
        ("rfc3339", True, "yields true or false; must be a time like"),
        ("epoch_ms", "2026-11-20T10:00:00Z", "yields text; time_format is epoch_ms, so it must be a number"),
        ("epoch_ms", True, "yields true or false"),
        ("epoch_s", 1_795_000_000_000, "is outside the years 1 to 9999; time_format is epoch_s"),
    ],
)
def test_times_are_never_guessed(time_format: str, at: Any, complaint: str) -> None:
    mapping = source(created_at="value.at", time_format=time_format)
    refusal = only_refusal(mapped({"user": "ann", "text": "hi", "at": at}, mapping))
    assert (refusal.field, refusal.expression) == ("created_at", "value.at")
    assert complaint in refusal.detail


def test_words_for_roles_are_mapped_and_unknown_ones_refused() -> None:
    mapping = source(role="value.bot", roles={True: "assistant", False: "user"}, defaults=None)
    assert texts(only(mapped({"user": "ann", "text": "hi", "bot": True}, mapping))) == [("assistant", "hi")]
    assert texts(only(mapped({"user": "ann", "text": "hi", "bot": False}, mapping))) == [("user", "hi")]
    refusal = only_refusal(mapped(ticket(("system", "be kind")), source(TICKETS)))
    assert refusal.detail == (
        "role: yields no word of roles (customer, agent, bot); add the word to roles, as user, assistant or drop "
        "(message 0)"
    )
    assert (refusal.expression, refusal.found) == ("message.from.kind", "system")


def test_what_the_mapping_leaves_out_on_purpose_is_counted_by_what_left_it_out() -> None:
    assert mapped(ticket(("bot", "one"), ("bot", "two")), source(TICKETS)).ignored == {"messages": 1}
    assert mapped(ticket(), source(TICKETS)).ignored == {"messages": 1}
    assert mapped([], source(each="value")).ignored == {"each": 1}
    filtered = source(each="value[?kind == 'chat']", user_id="item.who", content="item.text")
    assert mapped([{"kind": "ping"}], filtered).ignored == {"each": 1}
    chats = source(where="value.kind == 'chat'")
    ignored = mapped({"kind": "ping"}, chats)
    assert (ignored.ignored, ignored.blobs, ignored.refusals) == ({"where": 1}, (), ())
    assert texts(only(mapped({"kind": "chat", "user": "ann", "text": "hi"}, chats))) == [("user", "hi")]


@pytest.mark.parametrize(
    ("kind", "kept"), [(0, True), ("x", True), (None, False), ("", False), ([], False), ({}, False)]
)
def test_where_takes_for_true_what_jmespath_takes_for_true(kind: Any, kept: bool) -> None:
    record = mapped({"kind": kind, "user": "ann", "text": "hi"}, source(where="value.kind"))
    assert (len(record.blobs) == 1, record.ignored == {}) == (kept, kept)


@pytest.mark.parametrize(
    ("changes", "value", "field", "complaint"),
    [
        ({}, {"text": "hi"}, "user_id", "yields nothing"),
        ({}, {"user": "", "text": "hi"}, "user_id", "must be 1 to 255 bytes long"),
        ({}, {"user": "x" * 256, "text": "hi"}, "user_id", "must be 1 to 255 bytes long"),
        ({}, {"user": "a\0b", "text": "hi"}, "user_id", "must not hold a NUL"),
        ({}, {"user": ["ann"], "text": "hi"}, "user_id", "yields a list, must be text or a whole number"),
        ({}, {"user": 1.5, "text": "hi"}, "user_id", "yields a number, must be text or a whole number"),
        ({}, {"user": True, "text": "hi"}, "user_id", "yields true or false"),
        ({}, {"user": "ann"}, "content", "yields nothing"),
        ({}, {"user": "ann", "text": 5}, "content", "yields a number, must be text"),
        ({}, {"user": "ann", "text": {"de": "hi"}}, "content", "yields an object, must be text"),
        ({}, "no object", "user_id", "yields nothing"),
        ({"project_id": "value.p"}, {"user": "ann", "text": "hi", "p": "a/b"}, "project_id", "must not hold a slash"),
        ({"fields": "value.f"}, {"user": "ann", "text": "hi", "f": [1]}, "fields", "valid dictionary"),
        ({"role": "value.r"}, {"user": "ann", "text": "hi", "r": "bot"}, "role", "yields neither user nor assistant"),
        ({"role": "value.r"}, {"user": "ann", "text": "hi", "r": {}}, "role", "yields an object, must be a word"),
        ({"messages": "value.list"}, {"user": "ann"}, "messages", "yields nothing, must be a list"),
        ({"messages": "value.list"}, {"user": "ann", "list": "hi"}, "messages", "yields text, must be a list"),
        ({"each": "value.list"}, {}, "each", "yields nothing, must be a list"),
        ({"blob_type": "value.t"}, {"user": "ann", "text": "hi", "t": "video"}, "blob_type", "must be one of chat"),
        ({"blob_type": "value.t"}, {"user": "ann", "text": "hi", "t": "image"}, "blob_type", "need blob_data"),
        ({"content": "join(' ', value.words)"}, {"user": "ann", "words": [1]}, "content", "calls join() on a value"),
        ({"content": "join(' ', value.words)"}, {"user": "ann"}, "content", "calls join() on a value of type null"),
        ({"where": "contains('text', `1`)"}, {}, "where", "cannot be evaluated here"),
        ({"fields": "{n: sum(value.n)}"}, {"user": "ann", "text": "hi", "n": [2**63, 2**63]}, "fields", "as JSON"),
    ],
)
def test_a_refusal_names_field_and_expression_and_quotes_nothing(
    changes: dict[str, Any], value: Any, field: str, complaint: str
) -> None:
    mapping = source(**changes)
    refusal = only_refusal(MappedRecord([], list(mapped(value, mapping).refusals)))
    assert (refusal.field, refusal.expression) == (field, mapping.expressions[field])
    assert refusal.detail.startswith(f"{field}: ")
    assert complaint in refusal.detail
    assert refusal.reason == "mapping-failed"


def test_documents_are_mapped_by_their_content_and_other_types_whole() -> None:
    doc = source(defaults={"blob_type": "doc"})
    assert only(mapped({"user": "ann", "text": "a page"}, doc))["blob_data"] == {"content": "a page"}
    summary = source(blob_type="value.type")
    found = only(mapped({"user": "ann", "text": "in short", "type": "summary"}, summary))
    assert (found["blob_type"], found["blob_data"]) == ("summary", {"summary": "in short"})
    calls = source(content=None, blob_data="{transcripts: value.lines}", defaults={"blob_type": "transcript"})
    lines = [{"content": "hello", "start_timestamp_in_seconds": 0.5, "speaker": "Ann"}]
    assert only(mapped({"user": "ann", "lines": lines}, calls))["blob_data"]["transcripts"] == lines
    refusal = only_refusal(mapped({"user": "ann", "lines": [{"content": "hello"}]}, calls))
    assert refusal.field == "blob_data"
    assert refusal.detail == "blob_data: blob_data.transcripts.0.start_timestamp_in_seconds Field required"
    assert only_refusal(mapped({"user": "ann"}, source(content=None, blob_data="value.data"))).field == "blob_data"


def test_a_blob_above_the_limit_is_refused_and_its_neighbours_are_not() -> None:
    mapping = source(each="value", user_id="item.user", content="item.text")
    record = mapped([{"user": "ann", "text": "x" * 900}, {"user": "bob", "text": "hi"}], mapping, max_blob_bytes=500)
    assert [blob.item for blob in record.blobs] == [1]
    assert [(refusal.item, refusal.reason) for refusal in record.refusals] == [(0, "too-large")]
    assert "buffer.max_blob_bytes is 500" in record.refusals[0].detail


def test_a_record_that_would_grow_without_bounds_is_refused_whole() -> None:
    mapping = source(each="value.list", user_id="'ann'", content="value.text")
    value = {"text": "x" * 900, "list": list(range(2 * MAX_BLOBS_FACTOR))}
    refusal = only_refusal(MappedRecord([], list(mapped(value, mapping, max_blob_bytes=1100).refusals)))
    assert (refusal.field, refusal.reason, refusal.item) == ("each", "too-large", None)
    many = mapped({"list": [0] * (MAX_LISTED + 1), "text": "hi"}, mapping)
    assert only_refusal(MappedRecord([], list(many.refusals))).reason == "too-large"


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": "value.all", "role": "'bot'", "roles": {"bot": "drop"}},
        {"messages": "value.all", "content": "message.missing"},
        {"fields": "{all: value.all}", "user_id": "''"},
        {"fields": "{all: value.all}"},
    ],
    ids=["messages left out", "messages refused", "items refused", "items too large"],
)
def test_what_comes_to_nothing_counts_where_a_small_record_would_keep_the_worker_busy(changes: dict[str, Any]) -> None:
    mapping = source(**{"each": "value.items", "user_id": "'ann'", "content": "'hi'", **changes})
    value = {"items": [0] * MAX_LISTED, "all": [0] * MAX_LISTED}
    assert MAX_LISTED**2 > MAX_MESSAGES
    record = mapped(value, mapping, max_blob_bytes=1000)
    refusal = only_refusal(MappedRecord([], list(record.refusals)))
    assert (refusal.field, refusal.reason, refusal.item) == ("each", "too-large", None)


def test_a_value_that_is_nested_too_deep_is_refused_and_ends_nothing() -> None:
    # As deep as our decoder lets a record be.
    deep: Any = "bottom"
    for _ in range(1000):
        deep = [deep]
    value = {"user": "ann", "text": "hi", "deep": deep}
    assert only_refusal(mapped(value, source(fields="{deep: value.deep}"))).field == "fields"
    assert only_refusal(mapped(value, source(user_id="value.deep"))).field == "user_id"


def test_a_mapped_blob_never_depends_on_what_was_mapped_before() -> None:
    mapping = source(LINES)
    first = mapped({"user": "ann", "text": "hi"}, mapping)
    mapped({"user": "bob", "text": 5}, mapping)
    assert mapped({"user": "ann", "text": "hi"}, mapping) == first
