"""Dead letters: whose they are, which one counts, what became of them, and what is sent again."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from cli.dead_letter_rules import (
    Letter,
    Mappings,
    Status,
    Wanted,
    again,
    check_words,
    newest_letters,
    places_of,
    read_letter,
    status_of,
)
from schemas import headers as names
from schemas.errors import ConfigurationError, NotFound
from schemas.identity import position_blob_id
from schemas.mapping_fields import compile_source
from schemas.windows import Position
from storage.units import ForgetCutOff, RecordedUnit, UnitState
from streams.raw_records import RawRecord, origin_headers, origin_of
from tests.support.sources import MAX_BLOB_BYTES, TICKETS, source, ticket

SOURCE = Position(topic="chat-messages", partition=1, offset=7, timestamp_ms=1_000)
NOW = datetime(2026, 11, 29, tzinfo=UTC)
B1 = ("default", "ann", "b1")


def record(
    document: Any = None,
    *,
    offset: int = 0,
    at: Position = SOURCE,
    reason: str = "invalid-record",
    stage: str = "buffer",
    more: tuple[tuple[str, bytes | None], ...] = (),
) -> RawRecord:
    named = {
        names.ERROR_TOPIC: at.topic,
        names.ERROR_PARTITION: at.partition,
        names.ERROR_OFFSET: at.offset,
        names.ERROR_TIMESTAMP: at.timestamp_ms,
        names.ERROR_STAGE: stage,
        names.ERROR_REASON: reason,
        names.ERROR_MESSAGE: "what was wrong",
    }
    value = document if isinstance(document, bytes) else orjson.dumps(document or {"user_id": "ann"})
    headers = more + tuple((name, str(text).encode()) for name, text in named.items())
    return RawRecord("dead-letters", 0, offset, 5_000 + offset, b"ann", value, headers)


def letter(*args: Any, **options: Any) -> Letter:
    found = read_letter(record(*args, **options))
    assert found is not None
    return found


def row(state: UnitState, reason: str | None = None) -> RecordedUnit:
    return RecordedUnit(
        project_id="default",
        user_id="ann",
        blob_id="b1",
        message_index=-1,
        part=-1,
        state=state,
        reason=reason,
        content_hash="hash",
        window_id=None,
        position=SOURCE,
        origin=None,
        recorded_at=NOW,
    )


def test_a_letter_names_its_blob_by_its_value_and_else_by_where_it_was_sent() -> None:
    assert letter({"user_id": "ann", "id": "b1", "project_id": "shop"}).blobs == (("shop", "ann", "b1"),)
    derived = position_blob_id("chat-messages", 1, 7, 1_000)
    assert letter({"user_id": "ann"}).blobs == (("default", "ann", derived),)


@pytest.mark.parametrize("value", [b"\xff\x00", b"[1]", b"{}", b'{"user_id": 5}'])
def test_of_what_cannot_be_read_nobody_is_named(value: bytes) -> None:
    assert letter(value).blobs == ()


def test_a_record_that_is_none_of_ours_is_no_letter() -> None:
    assert read_letter(RawRecord("dead-letters", 0, 0, 1, None, b"{}", ())) is None


def test_of_the_letters_of_one_record_the_newest_counts_and_knows_how_many_there_are() -> None:
    first = letter(offset=0)
    # Sent again, it lay elsewhere, and said where it came from.
    elsewhere = SOURCE.model_copy(update={"offset": 90})
    second = letter(offset=4, at=elsewhere, more=origin_headers(SOURCE), reason="too-large")
    other = letter(offset=2, at=SOURCE.model_copy(update={"offset": 3}))
    found = newest_letters([first, other, second])
    assert [(one.place, one.times, one.reason) for one in found] == [
        ("0/2", 1, "invalid-record"),
        ("0/4", 2, "too-large"),
    ]


def test_a_reason_or_a_topic_that_no_letter_has_is_refused_with_those_that_there_are() -> None:
    letters = [letter(reason="too-large"), letter(reason="invalid-json", offset=1)]
    check_words(Wanted(reasons=frozenset({"too-large"}), topics=frozenset({"chat-messages"})), letters)
    check_words(Wanted(reasons=frozenset({"typo"})), [])
    with pytest.raises(NotFound, match="no dead letter has the reason typo: there are invalid-json, too-large"):
        check_words(Wanted(reasons=frozenset({"too-large", "typo"})), letters)
    with pytest.raises(NotFound, match="no dead letter has the topic tickets: there are chat-messages"):
        check_words(Wanted(topics=frozenset({"tickets"})), letters)


def test_it_is_sent_again_as_it_came_and_says_where_it_came_from() -> None:
    sent = again(letter({"user_id": "bo", "id": "b1"}, more=(("traceparent", b"00-1"),)), "chat-messages")
    assert (sent.topic, sent.key, orjson.loads(sent.value)) == ("chat-messages", b"bo", {"user_id": "bo", "id": "b1"})
    assert dict(sent.headers).keys().isdisjoint({names.ERROR_REASON, names.ERROR_TOPIC, names.ERROR_MESSAGE})
    assert ("traceparent", b"00-1") in sent.headers
    assert origin_of(RawRecord("chat-messages", 0, 99, 1, sent.key, sent.value, sent.headers)) == SOURCE


def test_what_could_not_be_mapped_goes_to_its_source() -> None:
    tickets = Position(topic="tickets", partition=0, offset=3, timestamp_ms=9)
    sent = again(letter(b"no json", stage="ingest", at=tickets), "chat-messages")
    assert (sent.topic, sent.key, sent.value) == ("tickets", b"ann", b"no json")


TICKETS_NOW = Mappings({"tickets": compile_source(source(TICKETS, topic="tickets"))}, MAX_BLOB_BYTES)


def test_what_could_not_be_mapped_is_of_the_blobs_that_the_mapping_of_now_makes_of_it() -> None:
    place = Position(topic="tickets", partition=0, offset=3, timestamp_ms=9)
    found = read_letter(record(ticket(("customer", "I live in Oslo")), stage="ingest", at=place), TICKETS_NOW)
    assert found is not None
    assert found.blobs == (("default", "ann", position_blob_id("tickets", 0, 3, 9)),)
    assert status_of(found, {}, {}) == "open"
    assert status_of(found, {found.blobs[0]: [row("applied")]}, {}) == "applied"


@pytest.mark.parametrize("mappings", [Mappings(), TICKETS_NOW])
def test_what_can_still_not_be_mapped_stays_open(mappings: Mappings) -> None:
    place = Position(topic="tickets", partition=0, offset=3, timestamp_ms=9)
    found = read_letter(record(ticket(("robot", "beep")), stage="ingest", at=place), mappings)
    assert found is not None
    assert (found.is_refused, status_of(found, {}, {})) == (True, "open")


def test_sent_again_twice_it_still_names_its_first_place() -> None:
    first = Position(topic="tickets", partition=0, offset=3, timestamp_ms=9)
    sent = again(letter(more=origin_headers(first)), "chat-messages")
    assert origin_of(RawRecord("chat-messages", 0, 99, 1, sent.key, sent.value, sent.headers)) == first


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([], "open"),
        ([row("parked", "rejected")], "open"),
        ([row("applied"), row("parked", "rejected")], "open"),
        ([row("applied")], "applied"),
        ([row("erased")], "erased"),
        ([row("applied"), row("erased")], "applied"),
        ([row("parked", "id-conflict")], "open"),
    ],
)
def test_the_status_follows_from_what_is_recorded(rows: list[RecordedUnit], status: Status) -> None:
    assert status_of(letter({"user_id": "ann", "id": "b1"}), {B1: rows}, {}) == status


def test_a_conflict_is_not_done_because_the_blob_that_came_first_was_applied() -> None:
    conflict = letter({"user_id": "ann", "id": "b1"}, reason="id-conflict")
    assert status_of(conflict, {B1: [row("applied")]}, {}) == "open"


def test_what_was_said_before_a_forget_is_done() -> None:
    cut_off = ForgetCutOff(NOW, {("chat-messages", 1): 8})
    parked = letter({"user_id": "ann", "id": "b1"})
    assert status_of(parked, {B1: [row("parked")]}, {("default", "ann"): cut_off}) == "forgotten"


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Wanted(), True),
        (Wanted(places=frozenset({(0, 0)})), True),
        (Wanted(places=frozenset({(1, 0)})), False),
        (Wanted(reasons=frozenset({"too-large"})), False),
        (Wanted(topics=frozenset({"tickets"})), False),
        (Wanted(user_id="ann", project_id="default"), True),
        (Wanted(user_id="bo"), False),
        (Wanted(project_id="shop"), False),
        (Wanted(begin_ms=5_000, end_ms=5_001), True),
        (Wanted(end_ms=5_000), False),
        (Wanted(begin_ms=5_001), False),
    ],
)
def test_a_letter_is_wanted_by_what_is_named(wanted: Wanted, takes: bool) -> None:
    assert wanted.takes(letter()) is takes


def pieces(listed: object) -> tuple[tuple[str, bytes | None], ...]:
    return ((names.ERROR_PIECES, orjson.dumps(listed)),)


def test_what_does_not_hold_the_whole_record_says_where_that_lies() -> None:
    assert letter().obstacle is None
    # Messages of a blob that is there as a whole.
    assert letter(more=pieces([[0, None], [2, None]])).obstacle is None
    assert letter(more=pieces([[0, 3]])).obstacle == (
        "it holds a part of a record that was cut, which lies whole at chat-messages/1/7: send that again"
    )
    empty = replace(letter(), value=b"").obstacle
    assert empty == "the record was too large for this topic; it lies at chat-messages/1/7"


@pytest.mark.parametrize("text", ["17", "a/1", "1/", "1/-2", "/"])
def test_another_form_of_a_place_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="PARTITION/OFFSET"):
        places_of([text])
