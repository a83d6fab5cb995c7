"""What is done with units, by what is recorded of them."""

from datetime import UTC, datetime

from agents.application import plan_units
from agents.faults import split_messages
from schemas.windows import Unit
from storage.units import RecordedUnit, UnitBook, UnitState, book_of
from tests.support.extracting import unit


def recorded(piece: Unit, state: UnitState, reason: str | None = None, offset: int = 0) -> RecordedUnit:
    """A row of this unit, from a record at another offset than those of the tests' units unless it is 0."""
    _, message_index, part = piece.key
    return RecordedUnit(
        project_id="default",
        user_id="u1",
        blob_id=piece.blob_id,
        message_index=message_index,
        part=part,
        state=state,
        reason=reason,
        content_hash=piece.content_hash,
        window_id=None,
        position=piece.position.model_copy(update={"offset": offset}),
        origin=None,
        recorded_at=datetime(2026, 11, 20, tzinfo=UTC),
    )


def book(*rows: RecordedUnit) -> UnitBook:
    return book_of(rows)


def test_new_units_are_extracted_in_their_order() -> None:
    units = [unit("b", "1"), unit("a", "2")]
    assert plan_units(units, book()).remaining == tuple(units)


def test_applied_and_erased_units_are_only_counted() -> None:
    applied, erased = unit("a", "1"), unit("b", "2")
    plan = plan_units([applied, erased], book(recorded(applied, "applied"), recorded(erased, "erased")))
    assert plan.remaining == ()
    assert plan.skipped == ((applied, "applied"), (erased, "erased"))


def test_a_unit_that_was_parked_by_an_earlier_record_is_tried_again() -> None:
    again = unit("a", "1", offset=8)
    assert plan_units([again], book(recorded(again, "parked", "content-rejected", offset=2))).remaining == (again,)


def test_a_unit_that_was_parked_by_just_this_record_is_not_tried_again() -> None:
    same = unit("a", "1", offset=2)
    plan = plan_units([same], book(recorded(same, "parked", "content-rejected", offset=2)))
    assert plan.remaining == ()
    assert plan.skipped == ((same, "parked"),)


def test_of_a_blob_with_a_parked_message_only_that_message_is_tried_again() -> None:
    whole = unit("a", "1", "2", "3", offset=8)
    first, second, third = split_messages(whole)
    rows = [recorded(first, "applied"), recorded(second, "parked", "content-rejected"), recorded(third, "applied")]
    plan = plan_units([whole], book(*rows))
    assert plan.remaining == (second,)
    assert plan.skipped == ((first, "applied"), (third, "applied"))


def test_a_message_of_which_other_cuts_are_applied_is_parked_and_not_applied_again() -> None:
    whole = unit("a", "a long text", offset=8)
    message = whole.model_copy(update={"message_index": 0})
    rows = [
        recorded(message.model_copy(update={"part": 0}), "applied"),
        recorded(message.model_copy(update={"part": 1}), "parked", "content-rejected"),
    ]
    plan = plan_units([whole], book(*rows))
    assert plan.remaining == ()
    assert [parked.reason for parked in plan.parked] == ["cut-differently"]


def test_the_second_of_two_blobs_with_one_id_in_the_same_windows_is_a_conflict() -> None:
    first, second = unit("a", "1"), unit("a", "2", offset=1)
    plan = plan_units([first, second], book())
    assert plan.remaining == (first,)
    assert [(parked.unit, parked.reason) for parked in plan.parked] == [(second, "id-conflict")]


def test_a_blob_that_is_twice_in_the_same_windows_is_extracted_once() -> None:
    first, second = unit("a", "1"), unit("a", "1", offset=1)
    plan = plan_units([first, second], book())
    assert plan.remaining == (first,)
    assert plan.skipped == ((second, "applied"),)


def test_copies_in_the_same_windows_whole_or_in_pieces_are_told_apart() -> None:
    first, copy, other = unit("a", "1"), unit("a", "1", offset=1), unit("a", "2", offset=2)
    piece = first.model_copy(update={"message_index": 0})
    plan = plan_units([first, copy, other, piece], book())
    assert plan.remaining == (first,)
    assert [(parked.unit, parked.reason) for parked in plan.parked] == [(other, "id-conflict")]
    assert plan.skipped == ((copy, "applied"), (piece, "applied"))


def test_a_blob_that_comes_in_pieces_is_extracted_in_all_of_them_and_whole_no_more() -> None:
    whole = unit("a", "1", offset=9)
    pieces = [whole.model_copy(update={"message_index": 0, "part": part}) for part in range(2)]
    plan = plan_units([*pieces, whole], book())
    assert plan.remaining == tuple(pieces)
    assert plan.skipped == ((whole, "applied"),)


def test_without_a_model_that_sees_an_image_is_parked_with_the_setting_to_change() -> None:
    plan = plan_units([unit("a", blob_type="image")], book())
    assert [parked.reason for parked in plan.parked] == ["unsupported-content"]
    assert "llm.vision: true" in plan.parked[0].detail


def test_a_model_that_sees_is_shown_images_and_spared_what_is_none() -> None:
    picture = unit("a", blob_type="image")
    broken = unit("b", blob_type="image")
    broken.content["blob_data"] = {"url": "file:///etc/passwd"}
    plan = plan_units([picture, broken, unit("c", "text")], book(), reads_images=True)
    assert [held.blob_id for held in plan.remaining] == ["a", "c"]
    assert [(parked.unit.blob_id, parked.reason) for parked in plan.parked] == [("b", "unsupported-content")]
    assert "http://" in plan.parked[0].detail
