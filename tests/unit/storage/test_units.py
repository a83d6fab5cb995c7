"""The unit book: what is recorded of a blob decides what a unit that arrives is."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.windows import Position, Unit
from storage.units import (
    ID_CONFLICT,
    ForgetCutOff,
    RecordedUnit,
    UnitOutcome,
    UnitState,
    book_of,
    covers,
    month_start,
    overlap,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def position(offset: int = 0, topic: str = "chat-messages", timestamp_ms: int = NOW_MS) -> Position:
    return Position(topic=topic, partition=0, offset=offset, timestamp_ms=timestamp_ms)


def unit(message_index: int | None = None, part: int | None = None, **more: Any) -> Unit:
    values: dict[str, Any] = {
        "blob_id": "b1",
        "message_index": message_index,
        "part": part,
        "content_hash": "hash",
        "token_count": 1,
        "occurred_at_ms": NOW_MS,
        "recorded_at_ms": NOW_MS,
        "position": position(),
        "content": {"blob_type": "chat", "blob_data": {"messages": []}},
    }
    return Unit(**(values | more))


def row(state: UnitState, message_index: int = -1, part: int = -1, **more: Any) -> RecordedUnit:
    values: dict[str, Any] = {
        "project_id": "default",
        "user_id": "ann",
        "blob_id": "b1",
        "message_index": message_index,
        "part": part,
        "state": state,
        "reason": None,
        "content_hash": "hash",
        "window_id": None,
        "position": position(),
        "origin": None,
        "recorded_at": NOW,
    }
    return RecordedUnit(**(values | more))


@pytest.mark.parametrize(
    ("rows", "arriving", "outcome"),
    [
        ([], unit(), "new"),
        ([row("applied")], unit(), "applied"),
        ([row("parked")], unit(), "parked"),
        ([row("erased", content_hash=None)], unit(), "erased"),
        ([row("applied")], unit(content_hash="other"), "conflict"),
        ([row("parked")], unit(content_hash="other"), "conflict"),
        # A piece of what is recorded whole shares its lot.
        ([row("applied")], unit(2), "applied"),
        ([row("erased")], unit(2, 0), "erased"),
        ([row("parked")], unit(2), "parked"),
        ([row("applied", 1)], unit(1, 0), "applied"),
        ([row("applied", 1)], unit(2), "new"),
        # A whole blob counts as its recorded pieces.
        ([row("applied", 0), row("applied", 1)], unit(), "applied"),
        ([row("applied", 0), row("parked", 1)], unit(), "parked"),
        ([row("applied", 0), row("erased", 1)], unit(), "applied"),
        ([row("erased", 0), row("erased", 1)], unit(), "erased"),
        ([row("applied", 1, 0), row("applied", 1, 1)], unit(1), "applied"),
        ([row("applied", 1, 0)], unit(0), "new"),
        # Tried again after it was parked whole.
        ([row("parked"), row("applied", 0), row("applied", 1)], unit(), "applied"),
        ([row("parked", 0), row("parked", 1), row("applied")], unit(), "applied"),
    ],
)
def test_the_outcome_follows_from_what_is_recorded_of_the_blob(
    rows: list[RecordedUnit], arriving: Unit, outcome: UnitOutcome
) -> None:
    assert book_of(rows).outcome(arriving) == outcome


def test_a_recorded_conflict_leaves_the_rightful_blob_as_it_is_and_stays_one() -> None:
    book = book_of([row("applied"), row("parked", content_hash="other", reason=ID_CONFLICT)])
    assert book.outcome(unit()) == "applied"
    assert book.outcome(unit(content_hash="other")) == "conflict"


def test_pieces_tells_which_parts_of_a_parked_blob_are_open() -> None:
    book = book_of([row("applied", 0), row("parked", 1), row("applied", 2, 0)])
    assert book.pieces(unit()) == {("b1", 0, -1): "applied", ("b1", 1, -1): "parked", ("b1", 2, 0): "applied"}
    assert book.pieces(unit(1)) == {}


def test_a_parked_unit_is_known_by_its_position_as_a_second_delivery() -> None:
    book = book_of([row("parked", position=position(4))])
    assert book.parked_here(unit(position=position(4)))
    assert not book.parked_here(unit(position=position(9), origin=position(4)))


@pytest.mark.parametrize(
    ("first", "outcome"),
    [
        (position(9), "erased"),
        (position(10), "new"),
        (position(9, timestamp_ms=NOW_MS + 1), "new"),
        (position(9, topic="source-added-later"), "erased"),
        (position(9, topic="source-added-later", timestamp_ms=NOW_MS + 1), "new"),
    ],
)
def test_a_forget_erases_what_was_first_put_below_its_offsets_and_not_later(
    first: Position, outcome: UnitOutcome
) -> None:
    book = book_of([], ForgetCutOff(NOW, {("chat-messages", 0): 10}))
    assert book.outcome(unit(position=first)) == outcome
    assert book.outcome(unit(position=position(99, timestamp_ms=NOW_MS + 99), origin=first)) == outcome


def test_a_forget_beats_what_is_recorded() -> None:
    book = book_of([row("parked")], ForgetCutOff(NOW, {("chat-messages", 0): 10}))
    assert book.outcome(unit()) == "erased"


_KEYS = st.tuples(st.just("b1"), st.integers(-1, 2), st.integers(-1, 2)).filter(lambda key: key[1] >= 0 or key[2] == -1)


@given(_KEYS, _KEYS)
def test_units_overlap_only_where_one_covers_the_other(one: Any, other: Any) -> None:
    shared = _leaves(one) & _leaves(other)
    assert overlap(one, other) == bool(shared)
    assert covers(one, other) == (_leaves(other) <= _leaves(one))


@given(_KEYS)
def test_what_was_applied_stays_applied_however_it_comes_back(key: Any) -> None:
    arriving = unit(None if key[1] < 0 else key[1], None if key[2] < 0 else key[2])
    assert book_of([row("applied", key[1], key[2])]).outcome(arriving) == "applied"
    assert book_of([row("applied")]).outcome(arriving) == "applied"


@pytest.mark.parametrize(
    ("moment", "months", "expected"),
    [
        (datetime(2026, 12, 31, 23, tzinfo=UTC), 0, datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, 23, tzinfo=UTC), 1, datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2027, 1, 31, tzinfo=UTC), 1, datetime(2027, 2, 1, tzinfo=UTC)),
    ],
)
def test_months_begin_on_their_first_day_over_the_year_too(moment: datetime, months: int, expected: datetime) -> None:
    assert month_start(moment, months) == expected


def _leaves(key: tuple[str, int, int]) -> set[tuple[int, int]]:
    """The finest pieces of a blob of four messages of four parts."""
    messages = range(4) if key[1] < 0 else [key[1]]
    parts = range(4) if key[2] < 0 else [key[2]]
    return {(message, part) for message in messages for part in parts}
