"""What was applied twice, or after something later, is seen; what may be so is not."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from cli.audit_order import OrderWatch, applied_twice
from storage.audit_applied import AppliedWindow
from storage.units import RecordedUnit

FIRST = AppliedWindow(
    project_id="default",
    user_id="ann",
    window_id=UUID(int=1),
    blob_type="chat",
    revision=1,
    window_partition=("extraction-windows", 0),
    window_offset=10,
    partition=("chat-messages", 0),
    first=0,
    last=4,
)


def window(revision: int, offset: int, first: int | None, last: int | None, user_id: str = "ann") -> AppliedWindow:
    return replace(
        FIRST, window_id=uuid4(), revision=revision, window_offset=offset, first=first, last=last, user_id=user_id
    )


def found(*windows: AppliedWindow) -> list[str | None]:
    watch = OrderWatch()
    return [sample.place for one in windows for sample in watch.look(one)]


def test_what_is_in_order_is_right() -> None:
    assert found(FIRST, window(2, 11, 5, 6), window(5, 20, 9, 9), window(1, 2, 0, 1, user_id="bob")) == []


def test_a_swap_is_seen_by_the_window_and_by_the_record() -> None:
    assert found(window(1, 11, 5, 6), window(2, 10, 0, 4)) == ["0/10", "0/0"]


def test_a_blob_in_two_windows_is_right() -> None:
    assert found(FIRST, window(2, 11, 4, 6)) == []


def test_types_of_blobs_are_buffered_apart() -> None:
    assert found(window(1, 10, 5, 9), replace(window(2, 11, 0, 4), blob_type="doc")) == []


def test_what_was_parked_may_have_been_sent_again() -> None:
    assert found(window(1, 10, None, None), window(2, 11, 0, 4)) == []


def unit(message_index: int = -1, part: int = -1, content_hash: str = "h") -> RecordedUnit:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    return RecordedUnit(
        "default", "ann", "b1", message_index, part, "applied", None, content_hash, UUID(int=1), None, None, now
    )


def test_pieces_of_a_blob_are_applied_once_each() -> None:
    assert not list(applied_twice([unit(0), unit(1, 0), unit(1, 1)]))


def test_a_piece_and_the_whole_overlap() -> None:
    assert [sample.detail for sample in applied_twice([unit(0, 1), unit()])] == ["applied twice"]
    assert [sample.detail for sample in applied_twice([unit(0, 1), unit(0, 1)])] == ["applied twice, message 0, part 1"]
