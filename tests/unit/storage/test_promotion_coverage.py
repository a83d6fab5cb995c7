"""Whether a shadow has read all that a user's live memory rests on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import pytest

from schemas.windows import Position
from storage.promotion_coverage import Barrier, Later, Left, check_covered
from storage.units import ID_CONFLICT, RecordedUnit

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SPACE = UUID(int=0)
W1, W2 = uuid5(SPACE, "w1"), uuid5(SPACE, "w2")
CHATS = Barrier("chat-messages", "chat-messages", {0: 5}, None, {0: 100})
WINDOWS = Barrier("extraction-windows", "extraction-windows", {0: 5}, None, {0: 100})


def place(offset: int, topic: str = "chat-messages", partition: int = 0) -> Position:
    return Position(topic=topic, partition=partition, offset=offset, timestamp_ms=0)


def unit(blob_id: str = "b1", message_index: int = -1, part: int = -1, **changes: Any) -> RecordedUnit:
    known = RecordedUnit(
        project_id="default",
        user_id="ann",
        blob_id=blob_id,
        message_index=message_index,
        part=part,
        state="applied",
        reason=None,
        content_hash="h1",
        window_id=W1,
        position=place(10),
        origin=None,
        recorded_at=NOW,
    )
    return replace(known, **changes)


def check(
    live: Sequence[RecordedUnit],
    shadow: Sequence[RecordedUnit] = (),
    barrier: Barrier = CHATS,
    done_windows: Sequence[UUID] = (),
    window_places: dict[UUID, Position] | None = None,
) -> None:
    check_covered(live, shadow, done_windows, window_places or {}, barrier)


def reason(*args: Any, **named: Any) -> str:
    with pytest.raises(Left) as raised:
        check(*args, **named)
    return raised.value.reason


@pytest.mark.parametrize("live_state", ["applied", "parked"])
@pytest.mark.parametrize("shadow_state", ["applied", "parked", "erased"])
def test_what_both_have_is_covered_whatever_became_of_it(live_state: str, shadow_state: str) -> None:
    check([unit(state=live_state)], [unit(state=shadow_state, window_id=W2)])


def test_a_piece_is_covered_by_what_holds_it() -> None:
    check([unit(message_index=2, part=1)], [unit(message_index=2)])
    check([unit(message_index=2, part=1)], [unit()])


def test_behind_the_barrier_pieces_cover_what_they_were_cut_from() -> None:
    check([unit()], [unit(message_index=3)])


def test_at_the_barrier_pieces_may_not_be_all_there() -> None:
    with pytest.raises(Later):
        check([unit(position=place(100))], [unit(message_index=3)])


def test_behind_the_barrier_a_message_may_have_been_cut_otherwise() -> None:
    check([unit(message_index=3, part=4)], [unit(message_index=3, part=0), unit(message_index=3, part=1)])
    assert reason([unit(message_index=3, part=4)], [unit(message_index=2, part=0)]) == "missing"


def test_what_came_after_the_barrier_comes_later() -> None:
    with pytest.raises(Later):
        check([unit(position=place(100))])


def test_what_lies_behind_the_barrier_and_is_not_there_is_missing() -> None:
    assert reason([unit(position=place(99))]) == "missing"


def test_a_user_who_can_never_be_covered_is_left_though_something_comes_later() -> None:
    assert reason([unit("b1", position=place(100)), unit("b2", position=place(99))]) == "missing"


@pytest.mark.parametrize(
    "position", [place(4), place(10, partition=1), place(10, topic="other")], ids=["before", "partition", "topic"]
)
def test_what_the_shadow_does_not_read_is_out_of_range(position: Position) -> None:
    assert reason([unit(position=position)]) == "out-of-range"


def test_what_lies_behind_the_end_of_a_shadow_is_out_of_range_and_not_late() -> None:
    bounded = replace(CHATS, end={0: 50}, done={0: 50})
    assert reason([unit(position=place(50))], barrier=bounded) == "out-of-range"
    check([unit(position=place(49))], [unit()], barrier=bounded)


def test_what_came_by_an_import_is_on_no_topic() -> None:
    assert reason([unit(window_id=None)]) == "imported"
    assert reason([unit(window_id=None, position=None)]) == "imported"
    check([unit(window_id=None)], [unit()])


def test_another_blob_under_the_id_covers_nothing() -> None:
    assert reason([unit()], [unit(content_hash="h2")]) == "missing"
    assert reason([unit()], [unit(state="parked", reason=ID_CONFLICT)]) == "missing"


def test_a_blob_that_was_parked_for_its_id_need_not_be_there() -> None:
    check([unit(state="parked", reason=ID_CONFLICT, content_hash="h2")])


def test_what_was_deleted_need_not_be_there_and_must_not() -> None:
    check([unit(state="erased")])
    check([unit(state="erased")], [unit(state="erased")])
    assert reason([unit(state="erased")], [unit()]) == "deleted"
    assert reason([unit(state="erased", content_hash=None)], [unit(message_index=1)]) == "deleted"


def test_a_piece_that_was_dropped_as_a_dead_letter_may_be_in_the_shadow() -> None:
    check([unit(message_index=1, state="erased"), unit(message_index=0)], [unit()])


def test_all_of_a_window_that_the_shadow_has_done_is_covered() -> None:
    check([unit(message_index=1, part=2)], [], WINDOWS, [W1])


def test_of_windows_one_piece_tells_that_all_are_done() -> None:
    check([unit()], [unit(message_index=0)], WINDOWS)
    lies = {W1: place(10, "extraction-windows")}
    one, other = unit(message_index=0, part=1), unit(message_index=0, part=0)
    assert reason([one], [other], WINDOWS, window_places=lies) == "missing"


def test_of_windows_the_place_is_that_of_the_window() -> None:
    lies = {W1: place(100, "extraction-windows")}
    with pytest.raises(Later):
        check([unit()], [], WINDOWS, window_places=lies)
    assert reason([unit()], [], WINDOWS, window_places={W1: place(99, "extraction-windows")}) == "missing"
    assert reason([unit()], [], WINDOWS, window_places={W1: place(4, "extraction-windows")}) == "out-of-range"
