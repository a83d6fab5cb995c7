"""Records that lie in the wrong place or cannot be taken: forwarded, parked or counted, on both stores."""

from typing import Any

import orjson
import pytest

from schemas import headers as names
from schemas.headers import Headers
from schemas.identity import position_blob_id
from streams.raw_records import MAX_TIMESTAMP_MS, Outgoing
from tests.support.buffer_step import (
    AWAY,
    FOUR,
    HOME,
    START_MS,
    NewRun,
    buffered_ids,
    chat,
    context,
    flush,
    forget,
    letters,
    only_windows,
    policy,
    raw,
    reason_of,
)

# --- forwarding ---


@pytest.mark.parametrize(("partition", "key"), [(AWAY, b"u1"), (HOME, None), (HOME, b"foreign"), (AWAY, None)])
def test_a_record_in_the_wrong_place_is_forwarded_with_where_it_came_from(
    new_run: NewRun, partition: int, key: bytes | None
) -> None:
    run = new_run(context(partition=partition, partitions=FOUR))
    record = raw(chat("hi"), 7, key=key, partition=partition, headers=(("trace", b"abc"),))
    assert run.commit([record]).counts == {"forwarded": 1}
    (forwarded,) = run.sent
    assert (forwarded.destination, forwarded.key, forwarded.partition) == ("chat_messages", b"u1", HOME)
    assert forwarded.value == record.value
    assert dict(forwarded.headers) == {
        "trace": b"abc",
        names.ORIGIN_TOPIC: b"chat-messages",
        names.ORIGIN_PARTITION: str(partition).encode(),
        names.ORIGIN_OFFSET: b"7",
        names.ORIGIN_TIMESTAMP: str(START_MS + 7).encode(),
        names.BLOB_ID: position_blob_id("chat-messages", partition, 7, START_MS + 7).encode(),
    }
    assert run.state.heads == {}


def arrived(forwarded: Outgoing, offset: int, timestamp_ms: int) -> Any:
    assert forwarded.partition is not None
    return raw(
        forwarded.value,
        offset,
        key=forwarded.key,
        partition=forwarded.partition,
        timestamp_ms=timestamp_ms,
        headers=forwarded.headers,
    )


def test_a_forwarded_record_is_buffered_with_its_first_id_position_and_time(new_run: NewRun) -> None:
    away = new_run(context(partition=AWAY, partitions=FOUR))
    away.commit([raw(chat("hi"), 7, partition=AWAY)])
    home = new_run(context(policy(max_blobs=1), partition=HOME, partitions=FOUR))
    home.commit([arrived(away.sent[0], 90, START_MS + 5000)])
    ((unit,),) = [window.units for window in only_windows(home.sent)]
    assert unit.blob_id == position_blob_id("chat-messages", AWAY, 7, START_MS + 7)
    assert unit.origin is not None
    assert (unit.origin.partition, unit.origin.offset, unit.origin.timestamp_ms) == (AWAY, 7, START_MS + 7)
    assert (unit.position.partition, unit.position.offset, unit.position.timestamp_ms) == (HOME, 90, START_MS + 5000)
    assert (unit.recorded_at_ms, unit.occurred_at_ms) == (START_MS + 7, START_MS + 7)


def test_a_record_forwarded_again_keeps_its_first_origin(new_run: NewRun) -> None:
    first = new_run(context(partition=AWAY, partitions=FOUR))
    first.commit([raw(chat("hi"), 7, partition=AWAY)])
    # Partitions were added in between, so that its place is another one now.
    moved = arrived(first.sent[0], 3, START_MS + 9000)
    second = new_run(context(partition=HOME, partitions=64))
    second.commit([moved])
    assert dict(second.sent[0].headers) == dict(first.sent[0].headers)
    assert len(second.sent[0].headers) == len(first.sent[0].headers)


def test_a_command_without_a_key_is_forwarded_too(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat(id="b1"), 0), raw(flush(), 1, key=None)])
    assert [record.destination for record in run.sent] == ["chat_messages"]


# --- what cannot be taken ---


BAD: dict[str, bytes] = {
    "invalid-json": b"not json",
    "invalid-utf8": b'{"user_id": "\xff"}',
    "invalid-record": b'{"user_id": "u1", "blob_data": {"messages": []}}',
    "unknown-blob-type": b'{"user_id": "u1", "blob_type": "video", "blob_data": {}}',
    "newer-version": b'{"v": 2, "user_id": "u1"}',
    "too-large": orjson.dumps(chat("x" * 250_000)),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_record_is_parked_as_it_was_and_later_ones_flow_on(new_run: NewRun, reason: str) -> None:
    run = new_run(context(max_blob_bytes=200_000))
    sent_along: Headers = (("trace", b"abc"), ("trace", b"def"), ("empty", b""), ("null", None))
    bad = raw(BAD[reason], 5, key=b"as it came", headers=sent_along)
    effects = run.commit([bad, raw(chat(id="b1"), 6)])
    assert effects.counts == {"parked": 1, f"letter.{reason}": 1, "buffered": 1}
    (letter,) = run.sent
    assert (letter.destination, letter.key, letter.value) == ("dead_letters", b"as it came", BAD[reason])
    assert letter.headers[:4] == sent_along
    ours = {name: (value or b"").decode() for name, value in letter.headers[4:]}
    detail = ours.pop(names.ERROR_MESSAGE)
    assert detail
    assert ours == {
        names.ERROR_TOPIC: "chat-messages",
        names.ERROR_PARTITION: "0",
        names.ERROR_OFFSET: "5",
        names.ERROR_TIMESTAMP: str(START_MS + 5),
        names.ERROR_GROUP: "memostream-buffer",
        names.ERROR_STAGE: "buffer",
        names.ERROR_REASON: reason,
        names.ERROR_ATTEMPTS: "1",
    }


def test_a_bad_record_is_parked_where_it_lies_whatever_its_key(new_run: NewRun) -> None:
    run = new_run(context(partition=AWAY, partitions=FOUR))
    run.commit([raw(b"not json", 0, key=None, partition=AWAY)])
    assert [(letter.key, reason_of(letter)) for letter in letters(run)] == [(None, "invalid-json")]


def test_a_record_that_grows_too_large_by_normalising_is_parked(new_run: NewRun) -> None:
    run = new_run(context(max_blob_bytes=100_000))
    # Written out, 1e15 takes four times as much.
    value = orjson.dumps(chat(fields={"numbers": 1})).replace(
        b'"numbers":1', b'"numbers":[' + b"1e15," * 15_000 + b"0]"
    )
    run.commit([raw(value, 0), raw(chat(id="b1"), 1)])
    assert [reason_of(letter) for letter in letters(run)] == ["too-large"]


def test_a_blob_whose_pieces_would_repeat_too_much_is_parked(new_run: NewRun) -> None:
    run = new_run(context(policy(close_tokens=50, process_tokens=60), max_blob_bytes=200_000))
    blob = chat(*["some text"] * 300, fields={"large": "x" * 100_000})
    run.commit([raw(chat(id="kept"), 0), raw(blob, 1)])
    assert [reason_of(letter) for letter in letters(run)] == ["too-large"]
    assert buffered_ids(run) == ["kept"]


def test_a_message_that_leaves_no_room_for_its_text_is_parked(new_run: NewRun) -> None:
    run = new_run(context(policy(close_tokens=50, process_tokens=60)))
    blob = chat("some text")
    blob["blob_data"]["messages"][0]["alias"] = "Ann" * 1000
    run.commit([raw(blob, 0)])
    assert [reason_of(letter) for letter in letters(run)] == ["too-large"]


GOOD_ORIGIN = {
    names.ORIGIN_TOPIC: b"old",
    names.ORIGIN_PARTITION: b"1",
    names.ORIGIN_OFFSET: b"2",
    names.ORIGIN_TIMESTAMP: b"3",
}


@pytest.mark.parametrize(
    "change",
    [
        {names.ORIGIN_OFFSET: b"first"},
        {names.ORIGIN_OFFSET: str(1 << 70).encode()},
        {names.ORIGIN_OFFSET: b"-2"},
        {names.ORIGIN_PARTITION: b"9999999999"},
        {names.ORIGIN_TIMESTAMP: b"9" * 18},
        {names.ORIGIN_TOPIC: b"\xff"},
        {names.ORIGIN_TOPIC: b""},
        {names.BLOB_ID: b"\xff"},
        {names.BLOB_ID: b"a\0b"},
        {names.BLOB_ID: b"i" * 256},
    ],
)
def test_forged_headers_of_ours_are_parked(new_run: NewRun, change: dict[str, bytes]) -> None:
    run = new_run()
    run.commit([raw(chat(), 0, headers=tuple({**GOOD_ORIGIN, **change}.items()))])
    assert [reason_of(letter) for letter in letters(run)] == ["invalid-headers"]


def test_an_origin_named_in_part_is_parked(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat(), 0, headers=((names.ORIGIN_TOPIC, b"old"),))])
    assert [reason_of(letter) for letter in letters(run)] == ["invalid-headers"]


def test_null_values_are_counted_and_nothing_else(new_run: NewRun) -> None:
    run = new_run()
    effects = run.commit([raw(None, 0), raw(None, 1, key=None)])
    assert effects.counts == {"null": 2}
    assert run.sent == []


def test_an_empty_value_is_no_null(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(b"", 0)])
    assert [(letter.value, reason_of(letter)) for letter in letters(run)] == [(b"", "invalid-json")]


def test_a_misplaced_record_whose_headers_leave_no_room_is_parked(new_run: NewRun) -> None:
    run = new_run(context(partition=AWAY, partitions=FOUR, max_blob_bytes=1 << 17))
    run.commit([raw(chat("x" * 100_000), partition=AWAY, headers=(("trace", b"y" * 100_000),))])
    (letter,) = letters(run)
    assert reason_of(letter) == "too-large"
    assert letter.headers[0] == ("trace", b"y" * 100_000)


@pytest.mark.parametrize("key", [b"u1", b"k" * 300_000, None])
def test_a_record_that_only_compression_let_in_is_parked_without_its_bytes(new_run: NewRun, key: bytes | None) -> None:
    run = new_run(context(max_blob_bytes=1 << 17))
    run.commit([raw(b"x" * 300_000, 5, key=key, headers=(("trace", b"abc"),)), raw(chat(id="b1"), 6)])
    (letter,) = letters(run)
    assert reason_of(letter) == "too-large"
    assert (letter.key, letter.value) == (b"u1" if key == b"u1" else None, b"")
    headers = dict(letter.headers)
    assert "trace" not in headers
    assert headers[names.ERROR_OFFSET] == b"5"
    assert buffered_ids(run) == ["b1"]


@pytest.mark.parametrize("created_at", ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z"])
def test_the_first_and_the_last_time_of_the_calendar_are_times(new_run: NewRun, created_at: str) -> None:
    run = new_run()
    run.commit([raw(chat(created_at=created_at), 0), raw(flush(), 1)])
    (window,) = only_windows(run.sent)
    assert str(window.units[0].occurred_at.year).zfill(4) == created_at[:4]


@pytest.mark.parametrize(("timestamp_ms", "counted_ms"), [(1 << 60, MAX_TIMESTAMP_MS), (-(1 << 60), -1)])
def test_a_timestamp_that_no_calendar_holds_counts_as_the_nearest(
    new_run: NewRun, timestamp_ms: int, counted_ms: int
) -> None:
    run = new_run()
    run.commit([raw(chat(), 0, timestamp_ms=timestamp_ms), raw(flush(), 1)])
    (window,) = only_windows(run.sent)
    assert (window.units[0].occurred_at_ms, window.units[0].position.timestamp_ms) == (counted_ms, counted_ms)


def test_a_forget_drops_every_blob_type_whatever_it_names(new_run: NewRun) -> None:
    run = new_run()
    doc = {"user_id": "u1", "blob_type": "doc", "blob_data": {"content": "text"}}
    run.commit([raw(chat(), 0), raw(doc, 1), raw({**forget("u1"), "blob_type": "chat"}, 2)])
    assert run.state.heads == {}
