"""CloudEvents and trace context through the buffer step, on both stores."""

from typing import Any

import orjson
import pytest

from schemas import headers as names
from schemas.envelope import trace_of
from schemas.headers import Headers
from schemas.identity import cloudevent_blob_id
from schemas.trace import NO_TRACE, Trace
from schemas.windows import Unit, Window, decode_window
from streams.buffer_store import MemoryPartitionStore
from streams.raw_records import Outgoing, RawRecord
from tests.support.buffer_step import (
    AWAY,
    FOUR,
    HOME,
    START_MS,
    NewRun,
    StepRun,
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
)

EVENT_ID = cloudevent_blob_id("/shop", "e-1")
BINARY: Headers = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"e-1"),
    ("ce_source", b"/shop"),
    ("ce_type", b"com.example.said"),
    ("content-type", b"application/json"),
)
STRUCTURED: Headers = (("content-type", b"application/cloudevents+json"),)
EVENT = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "com.example.said"}


def parent(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"


def traced(number: int, state: str | None = None) -> Headers:
    headers: Headers = (("traceparent", parent(number).encode()),)
    return headers if state is None else (*headers, ("tracestate", state.encode()))


def arrived(sent: Outgoing, offset: int) -> RawRecord:
    """A record of ours as it is read again on `chat-messages`."""
    return raw(sent.value, offset, key=sent.key, partition=sent.partition or 0, headers=sent.headers)


def traces(run: StepRun) -> list[Trace]:
    """The traces of what was sent to the windows' topic, in order; it has no other headers."""
    sent = [record.headers for record in run.sent if record.destination == "extraction_windows"]
    assert {name for headers in sent for name, _ in headers} <= {"traceparent", "tracestate"}
    return [trace_of(headers) for headers in sent]


def units_of(run: StepRun) -> list[Unit]:
    return [unit for window in only_windows(run.sent) for unit in window.units]


# --- CloudEvents ---


def test_an_event_in_either_mode_is_the_same_blob_and_taken_once(new_run: NewRun) -> None:
    run = new_run()
    structured = orjson.dumps({**EVENT, "data": chat("hello")})
    effects = run.commit([raw(chat("hello"), 0, headers=BINARY), raw(structured, 1, headers=STRUCTURED)])
    assert effects.counts == {"buffered": 1, "duplicate": 1}
    assert buffered_ids(run) == [EVENT_ID]


def test_an_event_with_the_same_id_and_other_data_is_a_conflict(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat("hello"), 0, headers=BINARY), raw(chat("goodbye"), 1, headers=BINARY)])
    assert [reason_of(letter) for letter in letters(run)] == ["id-conflict"]


def test_an_events_time_is_when_it_was_said(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat(), 0, headers=(*BINARY, ("ce_time", b"2020-01-02T03:04:05Z"))), raw(flush(), 1)])
    (unit,) = units_of(run)
    assert (unit.occurred_at.isoformat(), unit.recorded_at_ms) == ("2020-01-02T03:04:05+00:00", START_MS)


def test_an_event_without_a_value_counts_as_null(new_run: NewRun) -> None:
    assert new_run().commit([raw(None, 0, headers=BINARY), raw(None, 1, headers=STRUCTURED)]).counts == {"null": 2}


@pytest.mark.parametrize(
    ("value", "headers"),
    [(chat("hello"), BINARY), (orjson.dumps({**EVENT, "data": chat("hello")}), STRUCTURED)],
    ids=["binary", "structured"],
)
def test_a_forwarded_event_keeps_value_and_headers_and_has_the_same_id(
    new_run: NewRun, value: Any, headers: Headers
) -> None:
    away = new_run(context(partition=AWAY, partitions=FOUR))
    record = raw(value, 0, key=None, partition=AWAY, headers=headers + traced(1, "a=1"))
    away.commit([record])
    (moved,) = away.sent
    assert (moved.value, moved.headers[: len(record.headers)]) == (record.value, record.headers)
    assert dict(moved.headers)[names.BLOB_ID] == EVENT_ID.encode()
    home = new_run(context(partition=HOME, partitions=FOUR))
    # The same event by another way is a duplicate there.
    direct = raw(value, 8, key=b"u1", partition=HOME, headers=headers)
    effects = home.commit([arrived(moved, 7), direct, raw(flush(), 9, partition=HOME)])
    assert effects.counts["duplicate"] == 1
    assert [blob_ids(window) for window in only_windows(home.sent)] == [[EVENT_ID]]
    assert traces(home)[0] == (parent(1), "a=1")


def test_a_redriven_event_has_the_same_id(new_run: NewRun) -> None:
    run = new_run()
    refused = raw(orjson.dumps(chat("hello", blob_type="video")), 0, headers=BINARY)
    run.commit([refused])
    (letter,) = run.sent
    assert (letter.value, letter.headers[: len(BINARY)]) == (refused.value, BINARY)
    # A later worker knows the type, or somebody has mended the value.
    mended = raw(chat("hello"), 1, headers=letter.headers)
    run.commit([mended, raw(chat("hello"), 2, headers=BINARY)])
    assert buffered_ids(run) == [EVENT_ID]


def test_an_event_that_is_none_is_parked_as_it_was(new_run: NewRun) -> None:
    run = new_run()
    headers = tuple(header for header in BINARY if header[0] != "ce_source")
    run.commit([raw(chat("hello"), 0, key=b"as it came", headers=headers)])
    (letter,) = letters(run)
    assert (letter.key, letter.headers[: len(headers)]) == (b"as it came", headers)
    found = dict(letter.headers)
    assert found[names.ERROR_REASON] == b"invalid-cloudevent"
    assert (found[names.ERROR_MESSAGE] or b"").startswith(b"source: ")


def test_a_change_event_of_ours_is_parked_with_what_went_wrong(new_run: NewRun) -> None:
    run = new_run()
    headers = (*(h for h in BINARY if h[0] != "ce_type"), ("ce_type", b"memostream.profile.updated.v1"))
    run.commit([raw({"v": 1, "op": "c", "user_id": "u1"}, 0, key=b"default/u1", headers=headers)])
    (letter,) = letters(run)
    assert reason_of(letter) == "invalid-cloudevent"
    assert b"what memostream publishes" in (dict(letter.headers)[names.ERROR_MESSAGE] or b"")


# --- trace ---


def test_a_window_has_the_trace_of_its_newest_unit_and_each_unit_its_own(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat("one"), 0, headers=traced(1)), raw(chat("two"), 1, headers=traced(2, "a=1"))])
    run.commit([raw(chat("three"), 2), raw(flush(), 3, headers=traced(9))])
    assert traces(run) == [(parent(2), "a=1"), (parent(9), None)]
    assert [unit.traceparent for unit in units_of(run)] == [parent(1), parent(2), None]
    (command,) = only_commands(run.sent)
    assert command.traceparent == parent(9)


def test_without_a_trace_records_are_as_they_were(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat("one"), 0, headers=(("traceparent", b"broken"), ("tenant", b"t"))), raw(forget(), 1)])
    run.commit([raw(chat("two"), 2), raw(flush(), 3)])
    assert traces(run) == [NO_TRACE] * 3
    assert not any(b"trace" in record.value for record in run.sent)


def test_a_trace_survives_a_restart(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat("one"), 0, headers=traced(1, "a=1"))])
    run.restart()
    run.restart(MemoryPartitionStore)
    run.commit([raw(flush(), 1)])
    assert traces(run)[0] == (parent(1), "a=1")


def test_every_piece_of_a_long_blob_has_its_trace(new_run: NewRun) -> None:
    run = new_run(context(policy(close_tokens=50, process_tokens=50)))
    run.commit([raw(chat("word " * 100, "word " * 100), 0, headers=traced(1))])
    assert len(only_windows(run.sent)) > 2
    assert {unit.traceparent for unit in units_of(run)} == {parent(1)}
    assert set(traces(run)) == {(parent(1), None)}


def test_a_trace_is_not_part_of_the_content(new_run: NewRun) -> None:
    run = new_run()
    effects = run.commit([raw(chat(id="b1"), 0, headers=traced(1)), raw(chat(id="b1"), 1, headers=traced(2))])
    assert effects.counts == {"buffered": 1, "duplicate": 1}


def test_a_window_of_before_traces_is_read(new_run: NewRun) -> None:
    run = new_run()
    run.commit([raw(chat("one"), 0), raw(flush(), 1)])
    window = decode_window(run.sent[0].value)
    assert isinstance(window, Window)
    assert window.units[0].trace == NO_TRACE


def test_a_batch_is_linked_to_every_traced_record_also_to_duplicates_commands_and_what_is_parked_unread(
    new_run: NewRun,
) -> None:
    run = new_run()
    effects = run.commit(
        [
            raw(chat("hello", id="b1"), 0, headers=traced(1, "a=1")),
            raw(chat("hello", id="b1"), 1, headers=traced(2)),
            raw(chat("without"), 2),
            raw(b"no JSON", 3, headers=traced(3)),
            raw(flush(), 4, headers=traced(4)),
        ]
    )
    assert effects.traces == [Trace(parent(1), "a=1"), Trace(parent(2)), Trace(parent(3)), Trace(parent(4))]
