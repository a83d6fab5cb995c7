"""What a window or command that is done must have left in Postgres."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from cli.audit_ledger import Books, faults_of
from schemas.windows import Unit, Window, WindowCommand
from storage.ledger import LedgerRow, UnitCounts, ledger_id_of, window_row
from storage.units import ForgetCutOff, RecordedUnit, UnitState
from tests.support.extracting import command, unit, window, window_position

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ANN = ("default", "u1")
WINDOW = window(unit("b1", "one", "two", offset=1), unit("b2", "three", offset=2))


def row(unit: Unit, state: UnitState = "applied", *, message_index: int | None = None) -> RecordedUnit:
    _, whole_index, part = unit.key
    return RecordedUnit(
        *ANN,
        unit.blob_id,
        whole_index if message_index is None else message_index,
        part,
        state,
        None,
        unit.content_hash,
        WINDOW.window_id,
        unit.position,
        None,
        NOW,
    )


def books(*rows: RecordedUnit, counts: UnitCounts, cut_off: ForgetCutOff | None = None) -> Books:
    units: dict[tuple[str, str, str], list[RecordedUnit]] = {}
    for one in rows:
        units.setdefault((*ANN, one.blob_id), []).append(one)
    ledger = {WINDOW.window_id: window_row(WINDOW, window_position(5), counts, NOW)}
    return Books(ledger, frozenset(), units, {} if cut_off is None else {ANN: cut_off})


def faults(record: Window | WindowCommand, found: Books) -> list[str]:
    return list(faults_of(record, found))


def test_a_window_with_its_row_and_its_units_is_right() -> None:
    assert not faults(WINDOW, books(*map(row, WINDOW.units), counts=UnitCounts(applied=2)))


def test_a_window_without_a_row_is_told_unless_it_is_held() -> None:
    assert faults(WINDOW, Books()) == ["no ledger row"]
    assert not faults(WINDOW, Books(held=frozenset({WINDOW.window_id})))


def test_a_command_without_a_row_is_told() -> None:
    flush = command(offset=7)
    assert faults(flush, Books()) == ["no ledger row"]
    done = LedgerRow(ledger_id_of(flush), "flush", *ANN, window_position(6), "done", NOW)
    assert not faults(flush, Books({done.ledger_id: done}))


def test_a_forget_takes_the_rows_of_what_came_before_it() -> None:
    cut_off = ForgetCutOff(datetime(2000, 1, 1, tzinfo=UTC), {("chat-messages", 0): 3})
    assert not faults(WINDOW, Books(cut_offs={ANN: cut_off}))
    assert faults(WINDOW, Books(cut_offs={ANN: replace(cut_off, offsets={("chat-messages", 0): 2})})) == [
        "no ledger row"
    ]


def test_a_unit_that_is_nowhere_is_told_by_its_record() -> None:
    assert faults(WINDOW, books(row(WINDOW.units[0]), counts=UnitCounts(applied=1, duplicate=1))) == [
        "no unit for record 0/2"
    ]


def test_pieces_count_for_a_whole_blob_if_no_message_is_missing() -> None:
    whole, other = WINDOW.units
    pieces = [row(whole, message_index=0), row(whole, "parked", message_index=1), row(other)]
    assert not faults(WINDOW, books(*pieces, counts=UnitCounts(applied=2, parked=1)))
    assert faults(WINDOW, books(*pieces[1:], counts=UnitCounts(applied=1, parked=1))) == ["no unit for record 0/1"]


def test_the_counts_have_to_agree() -> None:
    rows = [row(item) for item in WINDOW.units]
    assert faults(WINDOW, books(*rows, counts=UnitCounts(applied=3))) == ["the ledger says 3 applied, 2 units are"]
    assert faults(WINDOW, books(*rows, counts=UnitCounts(applied=1, duplicate=1))) == [
        "the ledger says 1 applied, 2 units are"
    ]
    # A window that was parked and sent again keeps its row.
    assert not faults(WINDOW, books(*rows, counts=UnitCounts(parked=2)))
    of_one = [row(WINDOW.units[0]), replace(row(WINDOW.units[1]), window_id=uuid4())]
    assert faults(WINDOW, books(*of_one, counts=UnitCounts(applied=1))) == ["the ledger counts 1 units of 2"]


def test_what_was_erased_since_agrees() -> None:
    rows = [row(WINDOW.units[0]), row(WINDOW.units[1], "erased")]
    assert not faults(WINDOW, books(*rows, counts=UnitCounts(applied=2)))
    assert not faults(WINDOW, books(row(WINDOW.units[0]), replace(rows[1], window_id=None), counts=UnitCounts(1)))
