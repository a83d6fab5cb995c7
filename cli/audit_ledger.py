"""Whether a record of extraction-windows that is done has what it must leave in Postgres. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cli.audit_rules import BlobKey, is_whole
from schemas.windows import Position, Unit, Window, WindowCommand
from storage.ledger import LedgerRow, ledger_id_of
from storage.units import ForgetCutOff, RecordedUnit, covers

UserKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Books:
    """What Postgres has, as of one moment, of some records of extraction-windows."""

    ledger: Mapping[UUID, LedgerRow] = field(default_factory=dict)
    held: frozenset[UUID] = frozenset()
    units: Mapping[BlobKey, Sequence[RecordedUnit]] = field(default_factory=dict)
    cut_offs: Mapping[UserKey, ForgetCutOff] = field(default_factory=dict)


def faults_of(record: Window | WindowCommand, books: Books) -> Iterator[str]:
    """What is missing of a record that the extraction group has finished; nothing if all is there."""
    ledger_id = ledger_id_of(record)
    cut_off = books.cut_offs.get((record.project_id, record.user_id))
    row = books.ledger.get(ledger_id)
    if row is None:
        if ledger_id not in books.held and not _is_forgotten(record, cut_off):
            yield "no ledger row"
        return
    # What a forget has erased leaves its row alone.
    if isinstance(record, WindowCommand) or row.user_id is None:
        return
    recorded = [
        unit
        for blob_id in {unit.blob_id for unit in record.units}
        for unit in books.units.get((record.project_id, record.user_id, blob_id), ())
    ]
    erased = sum(_is_erased(unit, recorded, cut_off) for unit in record.units)
    for unit in record.units:
        if not _is_recorded(unit, recorded) and not _is_erased(unit, recorded, cut_off):
            yield f"no unit for record {unit.position.partition}/{unit.position.offset}"
    yield from _differences(record, row, recorded, erased)


def _differences(window: Window, row: LedgerRow, recorded: Iterable[RecordedUnit], erased_units: int) -> Iterator[str]:
    states = [unit.state for unit in recorded if unit.window_id == window.window_id]
    applied, erased, said = states.count("applied"), states.count("erased"), row.counts
    # The same units sent again, once they were parked, make the same window, whose row stays.
    if applied + erased < said.applied or (applied > said.applied and said.parked == 0):
        yield f"the ledger says {said.applied} applied, {applied} units are"
    counted = said.applied + said.parked + said.duplicate + said.erased
    # A deletion takes units out of a window that is held.
    if counted + erased_units < len(window.units):
        yield f"the ledger counts {counted} units of {len(window.units)}"


def _is_forgotten(record: Window | WindowCommand, cut_off: ForgetCutOff | None) -> bool:
    """Whether a forget has removed the ledger row; by offset alone, for a producer's clock may go ahead."""
    if cut_off is None:
        return False
    positions = [unit.position for unit in record.units] if isinstance(record, Window) else [record.position]
    return all(_is_below(position, cut_off) for position in positions)


def _is_below(position: Position, cut_off: ForgetCutOff) -> bool:
    return position.offset < cut_off.offsets.get((position.topic, position.partition), 0)


def _is_erased(unit: Unit, recorded: Iterable[RecordedUnit], cut_off: ForgetCutOff | None) -> bool:
    if cut_off is not None and cut_off.covers(unit.first_position):
        return True
    return any(row.state == "erased" and covers(row.key, unit.key) for row in recorded)


def _is_recorded(unit: Unit, recorded: Iterable[RecordedUnit]) -> bool:
    rows = [row for row in recorded if row.content_hash == unit.content_hash]
    if any(covers(row.key, unit.key) for row in rows):
        return True
    finer = [row.key for row in rows if covers(unit.key, row.key)]
    if unit.message_index is not None:
        return bool(finer)
    data = unit.content["blob_data"]
    return bool(finer) and is_whole(finer, len(data.get("messages") or data.get("transcripts") or (None,)))
