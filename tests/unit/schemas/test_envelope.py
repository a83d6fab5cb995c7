"""CloudEvents, registry framing and trace headers around a record's JSON."""

import base64
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from schemas.changes import EVENT_UPDATED_TYPE, PROFILE_STATE_TYPE, PROFILE_UPDATED_TYPE
from schemas.envelope import decode_json, open_value, trace_of
from schemas.errors import InvalidRecord
from schemas.headers import Headers
from schemas.identity import cloudevent_blob_id
from schemas.records import ChatBlob, parse_record
from schemas.trace import NO_TRACE, Trace

SECRET = "sesame-open-4711"
BLOB = {"user_id": "ann", "blob_data": {"messages": [{"role": "user", "content": "I moved to Oslo"}]}}
NO_USER = {"blob_data": BLOB["blob_data"]}
ATTRIBUTES = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "com.example.said"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER_PARENT = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00"
REGISTRY = b"\x00\x00\x00\x00\x2a"
STRUCTURED: Headers = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)


def binary(**attributes: str | bytes | None) -> Headers:
    """Headers of an event in binary mode; None leaves an attribute out."""
    named = {**ATTRIBUTES, **attributes}
    encoded = {name: value.encode() if isinstance(value, str) else value for name, value in named.items()}
    return tuple((f"ce_{name}", value) for name, value in encoded.items() if value is not None)


def structured(**attributes: Any) -> bytes:
    """A value in structured mode whose data is a blob, unless it has other data."""
    return orjson.dumps({**ATTRIBUTES, "data": BLOB, **attributes})


def opened(value: Any, headers: Headers) -> Any:
    return open_value(value if isinstance(value, bytes) else orjson.dumps(value), headers).document


def refused(value: Any, headers: Headers) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as caught:
        opened(value, headers)
    return caught.value


def at_fault(value: Any, headers: Headers) -> str:
    """The attribute that a refusal names."""
    error = refused(value, headers)
    assert error.reason == "invalid-cloudevent"
    assert SECRET not in str(error)
    return error.detail.partition(":")[0]


# --- the data, and what it leaves out ---


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (orjson.dumps(NO_USER), binary(subject="ann", time="2026-11-20T10:00:00Z")),
        (structured(data=NO_USER, subject="ann", time="2026-11-20T10:00:00Z"), STRUCTURED),
    ],
    ids=["binary", "structured"],
)
def test_what_the_data_leaves_out_is_taken_from_the_attributes(value: bytes, headers: Headers) -> None:
    assert opened(value, headers) == {
        **NO_USER,
        "id": cloudevent_blob_id("/shop", "e-1"),
        "created_at": "2026-11-20T10:00:00Z",
        "user_id": "ann",
    }


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_fields_in_the_data_win(mode: str) -> None:
    data = {**BLOB, "id": "own", "created_at": "2020-01-01T00:00:00Z"}
    event = {"subject": "somebody else", "time": "2026-11-20T10:00:00Z"}
    if mode == "binary":
        assert opened(data, binary(**event)) == data
    else:
        assert opened(structured(data=data, **event), STRUCTURED) == data


def test_a_null_in_the_data_counts_as_left_out() -> None:
    assert opened({**BLOB, "id": None}, binary())["id"] == cloudevent_blob_id("/shop", "e-1")


def test_both_modes_give_the_same_id_and_other_sources_another() -> None:
    first = opened(BLOB, binary())["id"]
    assert opened(structured(), STRUCTURED)["id"] == first
    assert opened(BLOB, binary(source="/other"))["id"] != first


def test_a_command_is_taken_as_a_blob_is() -> None:
    assert opened({"command": "flush"}, binary(subject="ann"))["user_id"] == "ann"


@pytest.mark.parametrize(
    "time", ["2026-11-20T10:00:00Z", "2026-11-20t10:00:00.123456789z", "2026-11-20T11:00:00+01:00"]
)
def test_a_time_of_rfc_3339_becomes_the_blobs(time: str) -> None:
    blob = parse_record(opened(BLOB, binary(time=time)))
    assert isinstance(blob, ChatBlob)
    assert blob.created_at is not None
    assert blob.created_at.isoformat().startswith("2026-11-20T10:00:00")


def test_attributes_that_we_do_not_need_are_left_alone() -> None:
    headers = (*binary(), ("ce_My_Ext", b"\xff"), ("ce_none", None), ("ce_dataschema", b"\x00"))
    assert opened(BLOB, headers)["user_id"] == "ann"


@pytest.mark.parametrize("identifier", ["x" * 100_000, "nul\x00nul", "línea\n"])
def test_any_text_may_be_an_events_id(identifier: str) -> None:
    blob = parse_record(opened(BLOB, binary(id=identifier)))
    assert blob.id == cloudevent_blob_id("/shop", identifier)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "text/json", "a/b+json"]
)
def test_data_of_any_json_type_is_read(content_type: str) -> None:
    assert opened(BLOB, (*binary(), ("content-type", content_type.encode())))["user_id"] == "ann"
    assert opened(structured(datacontenttype=content_type), STRUCTURED)["user_id"] == "ann"


def test_the_structured_media_type_is_told_without_parameters_and_case() -> None:
    assert opened(structured(), (("content-type", b" Application/CloudEvents+JSON;x=y"),))["user_id"] == "ann"


def test_a_structured_event_may_repeat_its_attributes_in_headers() -> None:
    assert opened(structured(id="e-2"), (*binary(id="e-1"), *STRUCTURED))["id"] == cloudevent_blob_id("/shop", "e-2")


def test_data_may_be_base64() -> None:
    encoded = base64.b64encode(REGISTRY + orjson.dumps(BLOB)).decode()
    assert opened(orjson.dumps({**ATTRIBUTES, "data_base64": encoded}), STRUCTURED)["user_id"] == "ann"


@pytest.mark.parametrize("mode", [kafka.to_binary_event, kafka.to_structured_event])
def test_what_the_cloudevents_sdk_writes_is_read(mode: Any) -> None:
    message = mode(CloudEvent(attributes={**ATTRIBUTES, "subject": "ann", "partitionkey": "ann"}, data=NO_USER))
    document = opened(message.value, tuple(message.headers.items()))
    assert (document["id"], document["user_id"]) == (cloudevent_blob_id("/shop", "e-1"), "ann")


# --- refusals ---


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize("wrong", [None, ""], ids=["missing", "empty"])
def test_an_event_without_a_required_attribute_is_refused_and_told_which(name: str, wrong: str | None) -> None:
    assert at_fault(structured(**{name: wrong}), STRUCTURED) == name
    if (name, wrong) != ("specversion", None):
        assert at_fault(BLOB, binary(**{name: wrong})) == name


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "time"])
def test_a_structured_attribute_that_is_no_text_is_refused(name: str) -> None:
    assert at_fault(structured(**{name: {SECRET: 1}}), STRUCTURED) == name


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "time"])
def test_a_header_that_is_no_utf8_is_refused(name: str) -> None:
    assert at_fault(BLOB, binary(**{name: b"\xff"})) == name


def test_a_header_without_a_value_is_a_missing_attribute() -> None:
    headers = (*binary(id=None), ("ce_id", None))
    assert at_fault(BLOB, headers) == "id"
    assert at_fault(BLOB, (("ce_specversion", None),)) == "specversion"


@pytest.mark.parametrize("version", ["0.3", "2.0", "1", "1.0 ", "1.x", SECRET])
def test_other_versions_are_refused(version: str) -> None:
    assert at_fault(BLOB, binary(specversion=version)) == "specversion"
    assert at_fault(structured(specversion=version), STRUCTURED) == "specversion"


@pytest.mark.parametrize(
    "time",
    [
        SECRET,
        "2026-11-20",
        "2026-11-20T10:00:00",
        "2026-11-20 10:00:00Z",
        "2026-13-20T10:00:00Z",
        "1795000000",
        "0001-01-01T00:00:00+01:00",
        "2026-11-20T10:00:00." + "1" * 100_000 + "Z",
        "２０２６-11-20T10:00:00Z",
    ],
)
def test_a_time_that_is_none_is_refused_even_beside_a_created_at(time: str) -> None:
    assert at_fault(BLOB, binary(time=time)) == "time"
    assert at_fault({**BLOB, "created_at": "2026-11-20T10:00:00Z"}, binary(time=time)) == "time"


@pytest.mark.parametrize("subject", ["x" * 256, f"{SECRET}\x00", None])
def test_a_subject_that_is_no_user_id_is_refused_where_it_is_needed(subject: str | None) -> None:
    assert at_fault(NO_USER, binary(subject=subject)) == "subject"
    assert opened(BLOB, binary(subject=subject))["user_id"] == "ann"


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "application/json5", "", "json"])
def test_data_of_another_type_is_refused(content_type: str) -> None:
    assert at_fault(BLOB, (*binary(), ("content-type", content_type.encode()))) == "datacontenttype"
    assert at_fault(structured(datacontenttype=content_type), STRUCTURED) == "datacontenttype"


def test_data_that_only_says_it_is_json_is_refused() -> None:
    error = refused(b"not json " + SECRET.encode(), binary())
    assert (error.reason, SECRET in str(error)) == ("invalid-json", False)


@pytest.mark.parametrize("more", [{"data": None}, {"data": None, "data_base64": None}])
def test_a_structured_event_without_data_is_refused(more: dict[str, Any]) -> None:
    assert at_fault(structured(**more), STRUCTURED) == "data"


def test_an_event_with_two_data_is_refused() -> None:
    assert at_fault(structured(data_base64="e30="), STRUCTURED) == "data"


@pytest.mark.parametrize("encoded", ["no base64", "e30", 7, ["e30="], "é"])
def test_base64_that_is_none_is_refused(encoded: object) -> None:
    assert at_fault(structured(data=None, data_base64=encoded), STRUCTURED) == "data_base64"


def test_base64_of_something_else_than_json_is_refused() -> None:
    encoded = base64.b64encode(b"not json").decode()
    error = refused(structured(data=None, data_base64=encoded), STRUCTURED)
    assert (error.reason, error.detail.partition(":")[0]) == ("invalid-json", "data_base64")


@pytest.mark.parametrize("media_type", ["application/cloudevents-batch+json", "application/cloudevents+avro"])
def test_batches_and_other_formats_are_refused(media_type: str) -> None:
    assert at_fault(b"[]", (("content-type", media_type.encode()), *binary())) == "content-type"


@pytest.mark.parametrize("value", [b"[]", b'"text"', b"7"])
def test_a_structured_event_that_is_no_object_is_refused(value: bytes) -> None:
    assert refused(value, STRUCTURED).reason == "invalid-cloudevent"


@pytest.mark.parametrize("type_", [PROFILE_UPDATED_TYPE, EVENT_UPDATED_TYPE, PROFILE_STATE_TYPE])
def test_what_memostream_publishes_is_no_message(type_: str) -> None:
    assert at_fault({"op": "c", "user_id": "ann"}, binary(type=type_)) == "type"


# --- what is no CloudEvent ---

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
EVENT_KEYS = (*ATTRIBUTES, "subject", "time", "data", "data_base64", "datacontenttype", "ce_specversion")
look_alikes = st.fixed_dictionaries({}, optional=dict.fromkeys(EVENT_KEYS, json_values))
plain_headers = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "ce_id", "ce_type", "specversion", "CE_SPECVERSION", "ce-specversion", "id"]),
        st.sampled_from([b"application/json", b"text/plain", b"1.0", b"", b"\xff", None]),
    ),
    max_size=4,
).map(tuple)


@given(look_alikes, plain_headers)
def test_plain_json_that_looks_like_an_event_is_untouched(document: dict[str, Any], headers: Headers) -> None:
    found = open_value(orjson.dumps(document), headers)
    assert (found.document, found.trace) == (document, NO_TRACE)


def reason_or_none(value: bytes, headers: Headers) -> str | None:
    try:
        open_value(value, headers)
    except InvalidRecord as error:
        return error.reason
    return None


@given(st.binary(max_size=60), plain_headers)
def test_any_bytes_are_opened_or_refused(value: bytes, headers: Headers) -> None:
    for around in (headers, (*headers, *binary()), (*headers, *STRUCTURED)):
        assert reason_or_none(value, around) in {None, "invalid-utf8", "invalid-json", "invalid-cloudevent"}


# --- schema registries ---


def test_json_behind_a_registrys_prefix_is_read() -> None:
    assert decode_json(REGISTRY + orjson.dumps(BLOB)) == BLOB
    assert opened(REGISTRY + orjson.dumps(BLOB), binary())["user_id"] == "ann"
    assert opened(REGISTRY + structured(), STRUCTURED)["user_id"] == "ann"


def test_a_schema_id_in_a_header_needs_nothing() -> None:
    assert opened(BLOB, (("__value_schema_id", b"\x01" + bytes(16)),)) == BLOB


@pytest.mark.parametrize("rest", [b"\x02\x06ann", b"\xff\xfe", b"{"])
def test_something_else_behind_the_prefix_is_refused_with_a_hint(rest: bytes) -> None:
    with pytest.raises(InvalidRecord, match="not Avro or Protobuf"):
        decode_json(REGISTRY + rest)


@pytest.mark.parametrize("value", [b"", b"\x00", REGISTRY])
def test_a_prefix_alone_is_no_json(value: bytes) -> None:
    with pytest.raises(InvalidRecord, match="invalid-json"):
        decode_json(value)


# --- trace ---


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), NO_TRACE),
        ((("traceparent", PARENT.encode()), ("tracestate", b"a=1")), Trace(PARENT, "a=1")),
        ((("ce_traceparent", PARENT.encode()), ("ce_tracestate", b"a=1")), Trace(PARENT, "a=1")),
        ((("ce_traceparent", OTHER_PARENT.encode()), ("traceparent", PARENT.encode())), Trace(PARENT)),
        ((("traceparent", b"broken"), ("ce_traceparent", PARENT.encode())), Trace(PARENT)),
        ((("traceparent", OTHER_PARENT.encode()), ("traceparent", PARENT.encode())), Trace(PARENT)),
        ((("traceparent", PARENT.encode()), ("ce_tracestate", b"a=1")), Trace(PARENT)),
        ((("traceparent", None),), NO_TRACE),
        ((("traceparent", b"\xff"),), NO_TRACE),
        ((("traceparent", PARENT.encode()), ("tracestate", b"a=\xff")), Trace(PARENT)),
        ((("tracestate", b"a=1"),), NO_TRACE),
    ],
)
def test_the_trace_is_that_of_the_headers(headers: Headers, expected: Trace) -> None:
    assert trace_of(headers) == expected
    assert open_value(orjson.dumps(BLOB), headers).trace == expected


def test_a_structured_events_own_trace_counts_where_headers_have_none() -> None:
    value = structured(traceparent=PARENT, tracestate="a=1")
    assert open_value(value, STRUCTURED).trace == Trace(PARENT, "a=1")
    headers = (*STRUCTURED, ("traceparent", OTHER_PARENT.encode()))
    assert open_value(value, headers).trace == Trace(OTHER_PARENT)
    assert open_value(structured(traceparent={"x": 1}), STRUCTURED).trace == NO_TRACE
