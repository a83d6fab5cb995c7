"""What a record of a source topic becomes: keyed records with their origin, or a dead letter as it came."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from schemas import headers as names
from schemas.headers import Headers
from schemas.identity import item_blob_id, position_blob_id
from schemas.mapping import IngestSource
from schemas.mapping_fields import compile_source
from schemas.trace import Trace
from streams.ingest_records import LISTED_ITEMS, IngestContext, ingest
from streams.raw_records import Effects, Outgoing, RawRecord, origin_of
from tests.support.buffer_step import START_MS
from tests.support.sources import TICKETS, source, ticket

TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def record(value: Any, *, key: bytes | None = None, headers: Headers = (), offset: int = 5) -> RawRecord:
    encoded = value if isinstance(value, bytes) or value is None else orjson.dumps(value)
    return RawRecord("their.topic", 3, offset, START_MS, key, encoded, headers)


def effects_of(raw: RawRecord, mapping: IngestSource, max_blob_bytes: int = 1 << 20) -> Effects:
    effects = Effects()
    ingest(raw, IngestContext(compile_source(mapping), "the-group", max_blob_bytes), effects)
    return effects


def document(outgoing: Outgoing) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(outgoing.value)
    return found


def letter_of(effects: Effects) -> tuple[Outgoing, Mapping[str, str]]:
    (letter,) = [outgoing for outgoing in effects.outgoing if outgoing.destination == "dead_letters"]
    return letter, {name: (value or b"").decode() for name, value in letter.headers}


def test_a_mapped_record_has_the_users_key_and_carries_origin_and_trace_and_nothing_else_of_its_source() -> None:
    headers = (("theirs", b"x"), ("traceparent", TRACEPARENT), ("tracestate", b"a=1"), ("ce_id", b"7"))
    effects = effects_of(record(ticket(("customer", "hi")), key=b"k", headers=headers), source(TICKETS))
    (outgoing,) = effects.outgoing
    assert (outgoing.destination, outgoing.key, outgoing.partition) == ("chat_messages", b"ann", None)
    assert outgoing.headers == (
        (names.ORIGIN_TOPIC, b"their.topic"),
        (names.ORIGIN_PARTITION, b"3"),
        (names.ORIGIN_OFFSET, b"5"),
        (names.ORIGIN_TIMESTAMP, str(START_MS).encode()),
        ("traceparent", TRACEPARENT),
        ("tracestate", b"a=1"),
    )
    assert document(outgoing)["id"] == position_blob_id("their.topic", 3, 5, START_MS)
    assert effects.counts == {"mapped": 1}


def test_ids_follow_from_the_records_place_and_the_item_so_that_a_second_reading_is_a_duplicate() -> None:
    mapping = source(each="value", user_id="item.u", content="item.t")
    raw = record([{"u": "ann", "t": "one"}, {"u": "bob", "t": "two"}])
    first, second = effects_of(raw, mapping), effects_of(raw, mapping)
    assert first == second
    place = ("their.topic", 3, 5, START_MS)
    assert [document(outgoing)["id"] for outgoing in first.outgoing] == [
        item_blob_id(*place, 0),
        item_blob_id(*place, 1),
    ]
    assert [outgoing.key for outgoing in first.outgoing] == [b"ann", b"bob"]


def test_a_redriven_record_keeps_the_ids_and_the_origin_of_its_first_place() -> None:
    mapping = source(TICKETS)
    (first,) = effects_of(record(ticket(("customer", "hi"))), mapping).outgoing
    again = record(ticket(("customer", "hi")), headers=first.headers, offset=99)
    (second,) = effects_of(again, mapping).outgoing
    assert second == first


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (None, None),
        (b"ann", "ann"),
        (b"42", "42"),
        (b'{"id": 7}', {"id": 7}),
        (b'"quoted"', "quoted"),
        (b"\x00\x00\x00\x00\x01[1]", [1]),
        (b"{no json", "{no json"),
        (b"\xff\xfe", None),
        (b"\x00\x00\x00\x00\x00\x00\x00\x07", None),
    ],
)
def test_a_key_is_json_where_it_looks_so_else_text(key: bytes | None, expected: Any) -> None:
    mapping = source(user_id="'ann'", fields="{key: key}")
    (outgoing,) = effects_of(record({"text": "hi"}, key=key), mapping).outgoing
    assert document(outgoing)["fields"] == {"key": expected}


def test_the_last_of_several_headers_counts_and_binary_ones_are_null() -> None:
    mapping = source(user_id="headers.who", fields="headers")
    headers = (("who", b"bob"), ("who", b"ann"), ("binary", b"\xff"), ("empty", None))
    (outgoing,) = effects_of(record({"text": "hi"}, headers=headers), mapping).outgoing
    assert document(outgoing)["fields"] == {"who": "ann", "binary": None, "empty": None}


def test_a_schema_registrys_prefix_is_no_part_of_the_value() -> None:
    raw = record(b"\x00\x00\x00\x00\x07" + orjson.dumps({"user": "ann", "text": "hi"}))
    assert [outgoing.key for outgoing in effects_of(raw, source()).outgoing] == [b"ann"]


def test_null_values_and_what_the_mapping_leaves_out_are_counted_and_sent_nowhere() -> None:
    chats = source(where="value.kind == 'chat'")
    assert effects_of(record(None), chats) == Effects([], effects_of(record(None), chats).counts)
    assert effects_of(record(None), chats).counts == {"null": 1}
    ignored = effects_of(record({"kind": "ping"}), chats)
    assert (ignored.outgoing, +ignored.counts) == ([], {"ignored.where": 1})


@pytest.mark.parametrize(
    ("value", "reason"), [(b"no json", "invalid-json"), (b'{"a": "\xff"}', "invalid-utf8"), (b"", "invalid-json")]
)
def test_a_value_that_is_no_json_is_parked_without_an_expression(value: bytes, reason: str) -> None:
    letter, headers = letter_of(effects_of(record(value), source()))
    assert letter.value == value
    assert headers[names.ERROR_REASON] == reason
    assert names.ERROR_EXPRESSION not in headers


def test_a_refused_record_is_parked_as_it_came_with_field_and_expression() -> None:
    sent_along = (("theirs", b"x"), ("theirs", None))
    raw = record({"user": ["ann"], "text": "secret words"}, key=b"k", headers=sent_along)
    effects = effects_of(raw, source())
    letter, headers = letter_of(effects)
    assert (letter.key, letter.value, letter.headers[:2]) == (b"k", raw.value, sent_along)
    assert {name: text for name, text in headers.items() if name != "theirs"} == {
        names.ERROR_TOPIC: "their.topic",
        names.ERROR_PARTITION: "3",
        names.ERROR_OFFSET: "5",
        names.ERROR_TIMESTAMP: str(START_MS),
        names.ERROR_GROUP: "the-group",
        names.ERROR_STAGE: "ingest",
        names.ERROR_REASON: "mapping-failed",
        names.ERROR_MESSAGE: "user_id: yields a list, must be text or a whole number",
        names.ERROR_ATTEMPTS: "1",
        names.ERROR_EXPRESSION: "value.user",
    }
    assert effects.counts["parked"] == 1


def test_good_items_are_sent_and_one_letter_names_the_failed_ones() -> None:
    mapping = source(each="value", user_id="item.u", content="item.t")
    raw = record([{"u": "ann", "t": "one"}, {"t": "two"}, {"u": "bob", "t": 3}, {"u": "eve", "t": "four"}])
    effects = effects_of(raw, mapping)
    assert [outgoing.key for outgoing in effects.outgoing if outgoing.destination == "chat_messages"] == [
        b"ann",
        b"eve",
    ]
    letter, headers = letter_of(effects)
    assert letter.value == raw.value
    assert headers[names.ERROR_PIECES] == "[1,2]"
    assert headers[names.ERROR_EXPRESSION] == "item.u"
    assert headers[names.ERROR_MESSAGE].startswith("item 1: user_id: yields nothing")
    assert "item 2: content: yields a number, must be text" in headers[names.ERROR_MESSAGE]


def test_thousands_of_failed_items_still_fit_the_letters_headers() -> None:
    mapping = source(each="value", user_id="item.u", content="item.t")
    letter, headers = letter_of(effects_of(record([0] * 5000), mapping))
    assert len(orjson.loads(headers[names.ERROR_PIECES])) == LISTED_ITEMS
    assert headers[names.ERROR_MESSAGE].endswith("and 4997 more")
    assert sum(len(name) + len(value or b"") for name, value in letter.headers) < 32 * 1024


def test_a_record_too_large_for_dead_letters_leaves_its_place_there() -> None:
    raw = record({"text": "x" * 3000}, headers=(("theirs", b"x"),))
    letter, headers = letter_of(effects_of(raw, source(), max_blob_bytes=1000))
    assert (letter.key, letter.value) == (None, b"")
    assert "it stays where it lay" in headers[names.ERROR_MESSAGE]
    assert (headers[names.ERROR_PARTITION], headers[names.ERROR_OFFSET]) == ("3", "5")


def test_names_of_headers_count_in_bytes() -> None:
    raw = record({"text": "hi"}, headers=(("語" * 1000, b"x"),))
    letter, headers = letter_of(effects_of(raw, source(), max_blob_bytes=1000))
    assert "語" * 1000 not in dict(letter.headers)
    assert "it stays where it lay" in headers[names.ERROR_MESSAGE]


def test_a_blob_above_the_limit_is_parked() -> None:
    raw = record({"user": "ann", "text": "x" * 1100})
    _, headers = letter_of(effects_of(raw, source(), max_blob_bytes=1000))
    assert headers[names.ERROR_REASON] == "too-large"


def test_origin_headers_that_name_no_position_are_parked() -> None:
    raw = record({"user": "ann", "text": "hi"}, headers=((names.ORIGIN_TOPIC, b"t"),))
    _, headers = letter_of(effects_of(raw, source()))
    assert headers[names.ERROR_REASON] == "invalid-headers"


def test_the_buffer_reads_the_origin_that_is_written() -> None:
    raw = record({"user": "ann", "text": "hi"})
    (outgoing,) = effects_of(raw, source()).outgoing
    arrived = RawRecord("chat-messages", 0, 0, START_MS + 9, outgoing.key, outgoing.value, outgoing.headers)
    assert origin_of(arrived) == raw.position


@pytest.mark.parametrize("value", [ticket(("customer", "hi")), b"no JSON"])
def test_a_batch_is_linked_to_mapped_and_to_parked_records(value: Any) -> None:
    effects = effects_of(record(value, headers=(("traceparent", TRACEPARENT),)), source(TICKETS))
    assert effects.traces == [Trace(TRACEPARENT.decode())]
