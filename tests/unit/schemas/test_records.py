"""Records of `chat-messages`: what is taken, what is refused and why, ids and content hashes."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import decode_json
from schemas.errors import InvalidRecord
from schemas.records import (
    MAX_FIELDS_DEPTH,
    ChatBlob,
    Command,
    DocBlob,
    ImageBlob,
    TranscriptBlob,
    parse_record,
)
from tests.support.buffer_step import chat, flush

SECRET = "sesame-open-4711"
MESSAGE = {"role": "user", "content": "I moved to Oslo"}
BLOB = {"user_id": "u1", "blob_data": {"messages": [MESSAGE]}}


def decode_record(value: bytes) -> Any:
    return parse_record(decode_json(value))


def refused(value: Any) -> InvalidRecord:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    with pytest.raises(InvalidRecord) as caught:
        decode_record(raw)
    return caught.value


def outcome(value: bytes) -> str:
    try:
        decode_record(value)
    except InvalidRecord as error:
        return error.reason
    return "decoded"


def chat_blob(value: dict[str, Any]) -> ChatBlob:
    decoded = decode_record(orjson.dumps(value))
    assert isinstance(decoded, ChatBlob)
    return decoded


def nested(levels: int) -> dict[str, Any]:
    value: Any = "leaf"
    for level in range(levels - 1):
        value = [value] if level % 2 else {"k": value}
    return {"k": value}


def test_a_blob_needs_no_more_than_a_user_and_messages() -> None:
    blob = chat_blob(BLOB)
    assert (blob.v, blob.project_id, blob.blob_type, blob.id, blob.created_at) == (1, "default", "chat", None, None)
    assert blob.blob_data.messages[0].content == "I moved to Oslo"


def test_every_blob_type_is_told_by_its_name() -> None:
    doc = decode_record(orjson.dumps({"user_id": "u", "blob_type": "doc", "blob_data": {"content": "text"}}))
    line = {"content": "hello", "start_timestamp_in_seconds": 1.5}
    transcript = decode_record(
        orjson.dumps({"user_id": "u", "blob_type": "transcript", "blob_data": {"transcripts": [line]}})
    )
    image = decode_record(orjson.dumps({"user_id": "u", "blob_type": "image", "blob_data": {"url": "http://x/y.png"}}))
    assert (type(doc), type(transcript), type(image)) == (DocBlob, TranscriptBlob, ImageBlob)


def test_a_command_is_told_by_its_command() -> None:
    command = decode_record(orjson.dumps(flush("u1", blob_type="chat", last_blob_id="b9")))
    assert isinstance(command, Command)
    assert (command.command, command.blob_type, command.last_blob_id) == ("flush", "chat", "b9")


def test_keys_that_we_do_not_know_are_ignored() -> None:
    assert chat_blob({**BLOB, "tenant": {"deep": 1}}).content() == chat_blob(BLOB).content()


@pytest.mark.parametrize(
    ("value", "reason", "named"),
    [
        (b"", "invalid-json", "line 1"),
        (b"not json", "invalid-json", "line 1 column 1"),
        (b'{"user_id": "u"', "invalid-json", "line 1"),
        (b'{"user_id": "\xff"}', "invalid-utf8", "byte 13"),
        (b'{"user_id": "\\ud800"}', "invalid-json", "line 1"),
        (b"[" * 5000, "invalid-json", "line 1"),
        ([BLOB], "invalid-record", "must be a JSON object, is a list"),
        ("text", "invalid-record", "must be a JSON object, is a str"),
        (None, "invalid-record", "must be a JSON object, is a NoneType"),
        ({"blob_data": {"messages": [MESSAGE]}}, "invalid-record", "user_id: Field required"),
        ({**BLOB, "user_id": None}, "invalid-record", "user_id:"),
        ({**BLOB, "user_id": 7}, "invalid-record", "user_id:"),
        ({**BLOB, "user_id": ""}, "invalid-record", "user_id:"),
        ({**BLOB, "user_id": "u" * 256}, "invalid-record", "user_id: must be 1 to 255 bytes long, is 256"),
        ({**BLOB, "user_id": "日" * 86}, "invalid-record", "is 258"),
        ({**BLOB, "user_id": "a\0b"}, "invalid-record", "NUL"),
        ({**BLOB, "id": "a\0b"}, "invalid-record", "id:"),
        ({**BLOB, "id": "i" * 256}, "invalid-record", "id:"),
        ({**BLOB, "project_id": "a\0b"}, "invalid-record", "project_id:"),
        ({**BLOB, "project_id": "a/b"}, "invalid-record", "project_id: must not hold a slash"),
        ({"user_id": "u1"}, "invalid-record", "blob_data: Field required"),
        ({**BLOB, "blob_data": "text"}, "invalid-record", "blob_data:"),
        ({**BLOB, "blob_data": {}}, "invalid-record", "blob_data.messages: Field required"),
        ({**BLOB, "blob_data": {"messages": []}}, "invalid-record", "blob_data.messages:"),
        ({**BLOB, "blob_data": {"messages": "text"}}, "invalid-record", "blob_data.messages:"),
        ({**BLOB, "blob_data": {"messages": [{"role": "user"}]}}, "invalid-record", "blob_data.messages.0.content:"),
        ({**BLOB, "blob_data": {"messages": [{"content": "x"}]}}, "invalid-record", "blob_data.messages.0.role:"),
        (
            {**BLOB, "blob_data": {"messages": [MESSAGE, {"role": "system", "content": "x"}]}},
            "invalid-record",
            "blob_data.messages.1.role: Input should be 'user' or 'assistant'",
        ),
        ({**BLOB, "created_at": "yesterday"}, "invalid-record", "created_at:"),
        ({**BLOB, "created_at": "Year 32637"}, "invalid-record", "created_at:"),
        ({**BLOB, "created_at": "2026-13-01T00:00:00Z"}, "invalid-record", "created_at:"),
        ({**BLOB, "created_at": "0001-01-01T00:00:00+14:00"}, "invalid-record", "created_at:"),
        ({**BLOB, "created_at": {}}, "invalid-record", "created_at:"),
        ({**BLOB, "created_at": 12}, "invalid-record", "created_at:"),
        ({**BLOB, "created_at": "12"}, "invalid-record", "created_at:"),
        ({**BLOB, "fields": ["x"]}, "invalid-record", "fields:"),
        ({**BLOB, "fields": nested(MAX_FIELDS_DEPTH + 1)}, "invalid-record", "fields:"),
        ({**BLOB, "fields": nested(200)}, "invalid-record", "fields:"),
        ({**BLOB, "blob_type": "video"}, "unknown-blob-type", "must be one of chat,"),
        ({**BLOB, "blob_type": None}, "unknown-blob-type", "must be one of chat,"),
        ({**BLOB, "blob_type": ["chat"]}, "unknown-blob-type", "must be one of chat,"),
        ({**BLOB, "v": 2}, "newer-version", "v is 2, this worker reads up to 1"),
        ({**BLOB, "v": 0}, "invalid-record", "v:"),
        ({**BLOB, "v": True}, "invalid-record", "v:"),
        ({**BLOB, "v": "1"}, "invalid-record", "v:"),
        ({"command": "explode", "user_id": "u1"}, "invalid-record", "command:"),
        ({"command": "flush"}, "invalid-record", "user_id: Field required"),
        ({"command": "flush", "user_id": "u1", "blob_type": "video"}, "invalid-record", "blob_type:"),
    ],
)
def test_a_bad_record_is_refused_by_a_reason_and_its_field(value: Any, reason: str, named: str) -> None:
    error = refused(value)
    assert error.reason == reason
    assert named in error.detail


def test_a_newer_record_is_parked_even_where_nothing_else_of_it_is_known() -> None:
    assert refused({"v": 7, "shape": "of the future"}).reason == "newer-version"


@pytest.mark.parametrize(
    "value",
    [
        f'{{"user_id": "{SECRET}'.encode(),
        SECRET.encode(),
        f'{{"user_id": "{SECRET}\\u0000", "blob_data": {{"messages": []}}}}'.encode(),
        {**BLOB, "user_id": [SECRET]},
        {**BLOB, "user_id": SECRET * 40},
        {**BLOB, "project_id": f"{SECRET}/x"},
        {**BLOB, "blob_type": SECRET},
        {**BLOB, "blob_type": {SECRET: SECRET}},
        {**BLOB, "created_at": SECRET},
        {**BLOB, "created_at": [SECRET]},
        {**BLOB, "v": SECRET},
        {**BLOB, "fields": SECRET},
        {**BLOB, "fields": {SECRET: nested(100)}},
        {**BLOB, "blob_data": {"messages": [{"role": SECRET, "content": [SECRET]}]}},
        {**BLOB, "blob_data": {SECRET: SECRET}},
        {**BLOB, "blob_type": "transcript", "blob_data": {"transcripts": [{"start_timestamp_in_seconds": SECRET}]}},
        {"command": SECRET, "user_id": "u1"},
        {"command": "flush", "user_id": "u1", "last_blob_id": SECRET * 40},
        SECRET,
    ],
)
def test_no_error_quotes_what_was_sent(value: Any) -> None:
    error = refused(value)
    assert SECRET not in error.detail
    assert SECRET not in str(error)
    assert error.__cause__ is None


def test_ids_of_exactly_255_bytes_are_taken() -> None:
    assert chat_blob({**BLOB, "user_id": "日" * 85}).user_id == "日" * 85


def test_the_time_of_a_blob_is_utc_whatever_zone_it_was_sent_in() -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    for text in ("2026-11-20T12:00:00Z", "2026-11-20T14:00:00+02:00", "2026-11-20T12:00:00"):
        assert chat_blob({**BLOB, "created_at": text}).created_at == noon


def test_the_time_of_a_message_is_free_text_and_kept_as_it_is() -> None:
    said = {**MESSAGE, "created_at": "Year 32637, spring"}
    blob = chat_blob({**BLOB, "blob_data": {"messages": [said]}})
    assert blob.content()["blob_data"]["messages"] == [said]


def test_the_content_is_the_blob_without_its_ids_and_version() -> None:
    blob = chat_blob(chat("hi", user_id="u1", id="b1", v=1, project_id="p", session_id="s", fields={"a": 1}))
    assert blob.content() == {
        "blob_type": "chat",
        "session_id": "s",
        "fields": {"a": 1},
        "blob_data": {"messages": [{"role": "user", "content": "hi"}]},
    }


@given(st.permutations(["user_id", "blob_type", "session_id", "fields", "blob_data", "created_at"]))
def test_the_order_of_keys_does_not_change_the_content_hash(order: list[str]) -> None:
    value = {
        "user_id": "u1",
        "blob_type": "chat",
        "session_id": "s",
        "fields": {"a": 1, "b": 2},
        "blob_data": {"messages": [MESSAGE]},
        "created_at": "2026-11-20T12:00:00Z",
    }
    shuffled = {key: value[key] for key in order} | {"fields": {"b": 2, "a": 1}}
    assert chat_blob(shuffled).content_hash() == chat_blob(value).content_hash()


def test_defaults_and_ids_do_not_change_the_content_hash() -> None:
    plain = chat_blob(BLOB).content_hash()
    spelled_out = {**BLOB, "v": 1, "id": "b1", "project_id": "default", "blob_type": "chat", "session_id": None}
    assert chat_blob(spelled_out).content_hash() == plain
    assert chat_blob({**BLOB, "user_id": "somebody else"}).content_hash() == plain


@pytest.mark.parametrize(
    "change",
    [
        {"created_at": "2026-11-20T12:00:00Z"},
        {"session_id": "s"},
        {"fields": {"a": 1}},
        {"blob_data": {"messages": [{**MESSAGE, "content": "I moved to Bergen"}]}},
        {"blob_data": {"messages": [{**MESSAGE, "role": "assistant"}]}},
        {"blob_data": {"messages": [{**MESSAGE, "alias": "Ann"}]}},
        {"blob_data": {"messages": [MESSAGE, MESSAGE]}},
        {"blob_type": "doc", "blob_data": {"content": "I moved to Oslo"}},
    ],
)
def test_other_content_has_another_hash(change: dict[str, Any]) -> None:
    other = decode_record(orjson.dumps({**BLOB, **change}))
    assert not isinstance(other, Command)
    assert other.content_hash() != chat_blob(BLOB).content_hash()


@given(st.binary(max_size=200))
def test_whatever_the_bytes_a_record_is_decoded_or_refused(value: bytes) -> None:
    assert outcome(value) in {"decoded", "invalid-utf8", "invalid-json", "invalid-record", "newer-version"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["v", "id", "project_id", "user_id", "blob_type", "created_at", "fields", "blob_data"])


@given(st.dictionaries(KEYS, JSON))
def test_whatever_the_values_a_record_is_decoded_or_refused(change: dict[str, Any]) -> None:
    try:
        decoded = decode_record(orjson.dumps({**BLOB, **change}))
    except InvalidRecord:
        return
    assert not isinstance(decoded, Command)
    decoded.content_hash()
