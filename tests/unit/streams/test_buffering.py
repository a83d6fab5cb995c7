"""One record into the buffer: windows, duplicates and commands, on both stores."""

import orjson

from schemas.identity import position_blob_id
from schemas.tokens import estimate_tokens
from schemas.windows import Window, decode_window
from streams.windowing import unit_tokens
from tests.support.buffer_step import (
    DAY_MS,
    FOUR,
    HOME,
    HOUR_MS,
    START_MS,
    NewRun,
    blob_ids,
    buffered_ids,
    chat,
    context,
    flush,
    forget,
    letters,
    only_commands,
    only_windows,
    policy,
    raw,
    reason_of,
    windows_of,
)

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


def test_a_window_is_written_as_its_model_would_write_it(new_run: NewRun) -> None:
    run = new_run(context(policy(max_blobs=2)))
    traced = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)
    fields = {"none": None, "pi": 3.25, "big": 1 << 53}
    said = chat("hello", "Grüße 😀", id="b1", created_at="2026-11-20T10:00:00Z", fields=fields)
    run.commit([raw(said, 0, headers=traced), raw(chat("bye"), 1)])
    (record,) = run.sent
    window = decode_window(record.value)
    assert isinstance(window, Window)
    assert orjson.loads(record.value) == orjson.loads(window.model_dump_json(exclude_none=True))
    assert record.headers == traced
