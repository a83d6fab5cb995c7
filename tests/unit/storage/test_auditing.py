"""What became of a record, decided from the rows of its blob."""

from typing import Any

import pytest

from schemas.windows import Position
from storage.auditing import RecordState, record_state
from storage.units import ID_CONFLICT, ForgetCutOff, RecordedUnit
from tests.unit.storage.test_units import NOW, position, row

HERE = position(5)


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([], None),
        ([row("applied", position=HERE)], "applied"),
        ([row("parked", position=HERE)], "parked"),
        ([row("applied", 0, position=HERE), row("parked", 1, position=HERE)], "parked"),
        ([row("applied", 0, position=HERE), row("erased", 1, position=HERE)], "applied"),
        ([row("erased", position=None, content_hash=None)], "erased"),
        ([row("applied", position=position(1))], "duplicate"),
        ([row("applied", position=position(9), origin=HERE)], "forwarded"),
        ([row("applied", position=position(1), content_hash="other")], None),
        ([row("parked", position=position(1), reason=ID_CONFLICT)], None),
        ([row("parked", position=HERE, reason=ID_CONFLICT), row("applied", content_hash="x")], "parked"),
    ],
)
def test_the_state_of_a_record_follows_from_position_and_hash(
    rows: list[RecordedUnit], state: RecordState | None
) -> None:
    assert record_state(HERE, "hash", rows) == state


@pytest.mark.parametrize("more", [{}, {"origin": position(3, "source")}])
def test_a_record_that_a_forget_covers_is_erased(more: dict[str, Any]) -> None:
    first: Position = more.get("origin", HERE)
    cut_off = ForgetCutOff(NOW, {(first.topic, 0): first.offset + 1})
    assert record_state(HERE, "hash", [], cut_off, **more) == "erased"
