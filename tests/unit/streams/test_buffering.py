"""One record into the buffer: windows, duplicates, forwards, dead letters and commands, on both stores."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas import headers as names
from schemas.identity import position_blob_id
from schemas.tokens import estimate_tokens
from streams.buffer_codec import HeadKey
from streams.buffer_store import MemoryPartitionStore, RocksPartitionStore
from streams.buffering import BufferContext
from streams.raw_records import Headers, Outgoing
from streams.topics import partition_for
from streams.windowing import unit_tokens
from tests.support.buffer_step import (
    DAY_MS,
    HOUR_MS,
    START_MS,
    StepRun,
    blob_ids,
    chat,
    context,
    flush,
    forget,
    only_commands,
    only_windows,
    policy,
    raw,
    reason_of,
    windows_of,
)

NewRun = Callable[..., StepRun]
FOUR = 4
HOME = partition_for(b"u1", FOUR)
AWAY = (HOME + 1) % FOUR


@pytest.fixture(params=["memory", "rocksdb"])
def new_run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewRun]:
    opened: list[StepRun] = []

    def start(settings: BufferContext | None = None) -> StepRun:
        folder = tmp_path / f"partition-{len(opened)}"
        store = MemoryPartitionStore() if request.param == "memory" else RocksPartitionStore(folder)
        opened.append(StepRun(store, settings))
        return opened[-1]

    yield start
    for run in opened:
        run.store.close()


def letters(run: StepRun) -> list[Outgoing]:
    return [record for record in run.sent if record.destination == "dead_letters"]


def buffered_ids(run: StepRun, user_id: str = "u1", blob_type: str = "chat") -> list[str]:
    key = HeadKey("default", user_id, blob_type)
    held = run.state.take(key)
    run.restart()
    return [unit.blob_id for unit, _ in held]


# --- windows ---


def test_messages_wait_in_the_buffer_until_their_window_closes(new_run: NewRun) -> None:
    run = new_run(context(policy(max_blobs=3)))
    run.commit([raw(chat(id=f"b{n}"), n) for n in range(2)])
    assert run.sent == []
    run.commit([raw(chat(id="b2"), 2), raw(chat(id="b3"), 3)])
    (window,) = only_windows(run.sent)
    assert (blob_ids(window), window.reason, window.user_id, window.project_id) == (
        ["b0", "b1", "b2"],
        "size",
        "u1",
        "default",
    )
    assert buffered_ids(run) == ["b3"]


def test_a_window_goes_to_the_users_partition_under_the_users_key(new_run: NewRun) -> None:
    run = new_run(context(policy(max_blobs=1), partition=HOME, partitions=FOUR))
    run.commit([raw(chat(), partition=HOME)])
    assert [(record.key, record.partition) for record in run.sent] == [(b"u1", HOME)]


def test_enough_tokens_close_a_window(new_run: NewRun) -> None:
    run = new_run(context(policy(close_tokens=40)))
    run.commit([raw(chat("word " * 10, id=f"b{n}"), n) for n in range(4)])
    assert [(blob_ids(window), window.reason) for window in only_windows(run.sent)] == [
        (["b0", "b1"], "tokens"),
        (["b2", "b3"], "tokens"),
    ]
    assert all(
        window.token_count == sum(unit_tokens(unit, estimate_tokens) for unit in window.units) >= 40
        for window in only_windows(run.sent)
    )


def test_a_backfill_of_old_messages_is_cut_by_its_own_gaps(new_run: NewRun) -> None:
    run = new_run()
    times = ["2026-01-01T10:00:00Z", "2026-01-01T10:20:00Z", "2026-01-03T09:00:00Z", "2026-05-03T09:00:00Z"]
    run.commit([raw(chat(id=f"b{n}", created_at=time), n) for n, time in enumerate(times)])
    assert [(blob_ids(window), window.reason) for window in only_windows(run.sent)] == [
        (["b0", "b1"], "idle"),
        (["b2"], "idle"),
    ]
    assert buffered_ids(run) == ["b3"]


def test_a_user_who_never_pauses_gets_a_window_a_day(new_run: NewRun) -> None:
    run = new_run(context(policy(flush_interval_ms=HOUR_MS, max_age_ms=DAY_MS)))
    run.commit([raw(chat(id=f"b{n}"), n, timestamp_ms=START_MS + n * HOUR_MS) for n in range(27)])
    assert [(len(window.units), window.reason) for window in only_windows(run.sent)] == [(25, "age")]


def test_a_clock_that_jumps_ahead_and_back_closes_nothing(new_run: NewRun) -> None:
    run = new_run()
    times = [None, "2027-11-20T10:00:00Z", "2020-01-01T00:00:00Z", None]
    run.commit([raw(chat(id=f"b{n}", created_at=time), n) for n, time in enumerate(times)])
    assert run.sent == []
    assert buffered_ids(run) == ["b0", "b1", "b2", "b3"]


def test_users_projects_and_blob_types_have_windows_of_their_own(new_run: NewRun) -> None:
    run = new_run(context(policy(max_blobs=2)))
    doc = {"user_id": "u1", "blob_type": "doc", "blob_data": {"content": "text"}}
    run.commit(
        [
            raw(chat(id="a"), 0),
            raw(chat(id="b", user_id="u2"), 1),
            raw(chat(id="c", project_id="other"), 2),
            raw({**doc, "id": "d"}, 3),
            raw({**doc, "id": "e"}, 4),
        ]
    )
    assert [(window.blob_type, blob_ids(window)) for window in only_windows(run.sent)] == [("doc", ["d", "e"])]
    assert len(run.state.heads) == 3


def test_a_blob_above_the_process_limit_is_split_behind_what_was_buffered(new_run: NewRun) -> None:
    run = new_run(context(policy(close_tokens=50, process_tokens=60)))
    text = "".join(f"sentence number {n}. " for n in range(30))
    run.commit([raw(chat(id="small"), 0), raw(chat(text, "the end", id="large"), 1)])
    windows = only_windows(run.sent)
    assert len(windows) > 3
    assert all(window.token_count <= 60 for window in windows)
    units = [unit for window in windows for unit in window.units]
    assert units[0].blob_id == "small"
    assert "".join(unit.content["blob_data"]["messages"][0]["content"] for unit in units[1:]) == text + "the end"
    assert {unit.reason for unit in windows} == {"tokens"}
    assert run.state.heads == {}


def test_a_buffer_larger_than_the_process_limit_becomes_several_windows(new_run: NewRun) -> None:
    run = new_run(context(policy(close_tokens=50, process_tokens=60)))
    run.commit([raw(chat("word " * 25, id="b0"), 0), raw(chat("word " * 25, id="b1"), 1)])
    assert [blob_ids(window) for window in only_windows(run.sent)] == [["b0"], ["b1"]]


def test_a_window_never_outgrows_its_topic(new_run: NewRun) -> None:
    run = new_run(context(policy(max_bytes=20_000)))
    run.commit([raw(chat("x" * 6000, id=f"b{n}"), n) for n in range(7)])
    assert [(blob_ids(window), window.reason) for window in only_windows(run.sent)] == [
        (["b0", "b1", "b2"], "size"),
        (["b3", "b4", "b5"], "size"),
    ]
    assert all(len(record.value) < 21_000 for record in run.sent)


# --- ids ---


def test_a_record_without_an_id_gets_one_of_its_position(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat(), 7)])
    assert buffered_ids(run) == [position_blob_id("chat-messages", 0, 7, START_MS + 7)]


def test_the_same_id_and_content_again_is_counted_and_not_buffered(new_run: NewRun) -> None:
    run = new_run()
    effects = run.commit([raw(chat("hi", id="b1"), 0), raw(chat("hi", id="b1"), 1)])
    assert effects.counts == {"buffered": 1, "duplicate": 1}
    assert run.commit([raw(chat("hi", id="b1"), 2)]).counts == {"duplicate": 1}
    assert buffered_ids(run) == ["b1"]


def test_the_same_id_with_other_content_is_parked(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat("hi", id="b1"), 0)])
    run.restart()
    run.commit([raw(chat("something else", id="b1"), 1)])
    assert [reason_of(letter) for letter in letters(run)] == ["id-conflict"]
    assert buffered_ids(run) == ["b1"]


def test_an_id_is_of_one_user_and_conflicts_with_no_other_users(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat("hi", id="b1"), 0), raw(chat("other", id="b1", user_id="u2"), 1)])
    assert letters(run) == []


def test_an_id_conflicts_across_the_blob_types_of_a_user(new_run: NewRun) -> None:
    run = new_run()
    doc = {"user_id": "u1", "id": "b1", "blob_type": "doc", "blob_data": {"content": "text"}}
    run.commit([raw(chat("hi", id="b1"), 0), raw(doc, 1)])
    assert [reason_of(letter) for letter in letters(run)] == ["id-conflict"]


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
    assert effects.counts == {"parked": 1, "buffered": 1}
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


# --- commands ---


def test_a_flush_closes_the_users_windows_and_comes_behind_them(new_run: NewRun) -> None:
    run = new_run()
    doc = {"user_id": "u1", "id": "d1", "blob_type": "doc", "blob_data": {"content": "text"}}
    run.commit([raw(chat(id="b1"), 0), raw(doc, 1), raw(chat(id="x", user_id="u2"), 2), raw(flush(id="f1"), 3)])
    windows, commands = only_windows(run.sent), only_commands(run.sent)
    assert [(window.blob_type, blob_ids(window), window.reason) for window in windows] == [
        ("chat", ["b1"], "flush"),
        ("doc", ["d1"], "flush"),
    ]
    assert windows_of(run.sent)[-1] == commands[-1]
    (command,) = commands
    assert (command.command_id, command.position.offset) == ("f1", 3)
    assert list(command.window_ids) == [window.window_id for window in windows]
    assert [key.user_id for key in run.state.heads] == ["u2"]


def test_a_flush_of_one_blob_type_leaves_the_others(new_run: NewRun) -> None:
    run = new_run()
    doc = {"user_id": "u1", "id": "d1", "blob_type": "doc", "blob_data": {"content": "text"}}
    run.commit([raw(chat(id="b1"), 0), raw(doc, 1), raw(flush(blob_type="doc"), 2)])
    assert [blob_ids(window) for window in only_windows(run.sent)] == [["d1"]]


def test_a_flush_of_an_empty_buffer_passes_alone(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(flush(), 4)])
    (command,) = only_commands(run.sent)
    assert command.window_ids == []
    assert command.command_id == position_blob_id("chat-messages", 0, 4, START_MS + 4)


def test_a_conditional_flush_does_nothing_when_the_head_moved_on(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat(id="b1"), 0), raw(chat(id="b2"), 1), raw(flush(blob_type="chat", last_blob_id="b1"), 2)])
    assert only_windows(run.sent) == []
    assert [command.window_ids for command in only_commands(run.sent)] == [[]]
    run.commit([raw(flush(blob_type="chat", last_blob_id="b2"), 3)])
    assert [blob_ids(window) for window in only_windows(run.sent)] == [["b1", "b2"]]


def test_forget_user_drops_the_buffer_and_passes_on(new_run: NewRun) -> None:
    run = new_run()
    doc = {"user_id": "u1", "id": "d1", "blob_type": "doc", "blob_data": {"content": "text"}}
    run.commit([raw(chat(id="b1"), 0), raw(doc, 1), raw(chat(id="x", user_id="u2"), 2)])
    run.commit([raw(forget(), 3)])
    assert only_windows(run.sent) == []
    assert [command.command.command for command in only_commands(run.sent)] == ["forget-user"]
    assert [key.user_id for key in run.state.heads] == ["u2"]
    stored = b"".join(key + value for key, value in run.store.items())
    assert b"u1" not in stored
    assert {key for key, value in run.changelog if value is None} == {key for key, _ in run.changelog if b'"u1"' in key}


def test_who_comes_back_after_a_forget_starts_with_an_empty_buffer(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat("old", id="b1"), 0), raw(forget(), 1), raw(chat("new", id="b1"), 2)])
    assert letters(run) == []
    assert buffered_ids(run) == ["b1"]


def test_a_forget_of_one_project_leaves_the_other(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat(id="b1", project_id="p"), 0), raw(chat(id="b2"), 1), raw(forget(), 2)])
    assert [key.project_id for key in run.state.heads] == ["p"]
