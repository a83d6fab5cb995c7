"""Every record of chat-messages has one outcome, and a loss is seen."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import orjson
import pytest

from cli.audit_rules import (
    BlobFacts,
    Decoded,
    PendingUnit,
    Seen,
    Stages,
    Tally,
    decode,
    is_misplaced,
    is_whole,
    outcome_before_decoding,
    outcome_of_blob,
)
from schemas.blob_states import Outcome
from schemas.identity import cloudevent_blob_id
from schemas.windows import Position, UnitKey
from storage.units import ForgetCutOff, RecordedUnit, UnitState
from streams.topics import partition_for

TOPIC = "chat-messages"
READ = Stages(read_up_to={0: 100})
TEXTS = ("one", "two", "three")


def position(offset: int, partition: int = 0) -> Position:
    return Position(topic=TOPIC, partition=partition, offset=offset, timestamp_ms=1_000)


def seen(offset: int, *, blob_id: str | None = "b1", texts: Iterable[str] = TEXTS, origin: int | None = None) -> Seen:
    document = {
        "id": blob_id,
        "user_id": "ann",
        "blob_data": {"messages": [{"role": "user", "content": text} for text in texts]},
    }
    value = orjson.dumps({key: item for key, item in document.items() if item is not None})
    return Seen(position(offset), b"ann", value, None if origin is None else position(origin))


def facts_of(record: Seen) -> BlobFacts:
    decoded = decode(record)
    assert isinstance(decoded, Decoded)
    assert decoded.facts is not None
    return decoded.facts


def recorded(
    record: Seen,
    state: UnitState = "applied",
    *,
    at: int | None = None,
    piece: tuple[int, int] = (-1, -1),
    reason: str | None = None,
) -> RecordedUnit:
    facts = facts_of(record)
    return RecordedUnit(
        project_id="default",
        user_id="ann",
        blob_id=facts.blob[2],
        message_index=piece[0],
        part=piece[1],
        state=state,
        reason=reason,
        content_hash=facts.content_hash,
        window_id=None,
        position=position(record.position.offset if at is None else at),
        origin=None,
        recorded_at=datetime(2026, 11, 20, tzinfo=UTC),
    )


def pending(
    record: Seen, outcome: Literal["extracting", "held"], key: UnitKey | None = None
) -> dict[tuple[int, int], list[PendingUnit]]:
    blob = facts_of(record).blob
    return {record.place: [PendingUnit(blob, key or (blob[2], -1, -1), outcome)]}


def outcome(record: Seen, stages: Stages, rows: Iterable[RecordedUnit] = ()) -> Outcome:
    return outcome_of_blob(record, facts_of(record), stages, rows)


def test_a_record_beyond_the_committed_offset_is_unread() -> None:
    assert outcome_before_decoding(seen(100), READ) == "unread"
    assert outcome_before_decoding(seen(99), READ) is None


def test_a_partition_that_nobody_has_committed_is_unread() -> None:
    assert outcome_before_decoding(seen(0), Stages(read_up_to={})) == "unread"


def test_a_record_without_a_value_is_null() -> None:
    assert outcome_before_decoding(Seen(position(1), b"ann", None), READ) == "null"


def test_a_record_that_the_buffer_agent_has_refused_is_parked() -> None:
    assert outcome_before_decoding(seen(7), Stages(read_up_to={0: 100}, refused={(0, 7)})) == "parked"


@pytest.mark.parametrize("value", [b"no json", b"\xff", b"[]", b'{"user_id": ""}', b'{"v": 2, "user_id": "u"}'])
def test_a_record_that_cannot_be_decoded_is_nothing_but_a_dead_letter(value: bytes) -> None:
    assert decode(Seen(position(1), b"ann", value)) is None


def test_a_command_is_no_blob() -> None:
    value = orjson.dumps({"command": "flush", "user_id": "ann"})
    assert decode(Seen(position(1), b"ann", value)) == Decoded("default", "ann", None, "flush")


def test_a_record_without_an_id_has_that_of_its_first_position() -> None:
    original, copy = seen(3, blob_id=None), seen(9, blob_id=None, origin=3)
    assert facts_of(original).blob == facts_of(copy).blob
    assert facts_of(original).blob != facts_of(seen(9, blob_id=None)).blob


def test_a_cloudevent_is_the_blob_that_the_buffer_agent_takes_it_for() -> None:
    blob = seen(3, blob_id=None)
    attributes = {"specversion": b"1.0", "id": b"e-1", "source": b"/shop", "type": b"said"}
    event = replace(blob, headers=tuple((f"ce_{name}", value) for name, value in attributes.items()))
    assert facts_of(event).blob == ("default", "ann", cloudevent_blob_id("/shop", "e-1"))
    assert facts_of(event).content_hash == facts_of(blob).content_hash
    assert decode(replace(event, headers=event.headers[:1])) is None


def test_a_record_on_another_partition_or_under_another_key_is_misplaced() -> None:
    right = partition_for(b"ann", 8)
    placed = Seen(position(1, right), b"ann", b"{}")
    assert not is_misplaced(placed, "ann", 8)
    assert is_misplaced(Seen(position(1, (right + 1) % 8), b"ann", b"{}"), "ann", 8)
    assert is_misplaced(Seen(position(1, right), None, b"{}"), "ann", 8)
    assert is_misplaced(Seen(position(1, right), b"bob", b"{}"), "ann", 8)


def test_an_entry_of_the_buffer_is_buffered() -> None:
    record = seen(1)
    assert outcome(record, Stages(read_up_to={0: 100}, buffered={record.place})) == "buffered"


@pytest.mark.parametrize("stage", ["extracting", "held"])
def test_a_unit_of_an_unfinished_window_counts_as_its_window(stage: Literal["extracting", "held"]) -> None:
    record = seen(1)
    assert outcome(record, Stages(read_up_to={0: 100}, pending=pending(record, stage))) == stage


@pytest.mark.parametrize("state", ["applied", "parked", "erased"])
def test_a_recorded_unit_counts_as_its_state(state: UnitState) -> None:
    record = seen(1)
    assert outcome(record, READ, [recorded(record, state)]) == state


def test_a_finished_window_whose_offset_is_not_committed_counts_as_finished() -> None:
    record = seen(1)
    stages = Stages(read_up_to={0: 100}, pending=pending(record, "extracting"))
    assert outcome(record, stages, [recorded(record)]) == "applied"


def test_a_record_of_which_nobody_knows_anything_is_missing() -> None:
    assert outcome(seen(1), READ) == "missing"


def test_the_same_blob_from_another_position_is_a_duplicate() -> None:
    second = seen(2)
    assert outcome(second, READ, [recorded(seen(1))]) == "duplicate"
    assert outcome(second, Stages(read_up_to={0: 100}, buffered_blobs={facts_of(second).blob})) == "duplicate"
    assert outcome(second, Stages(read_up_to={0: 100}, pending_blobs={facts_of(second).blob})) == "duplicate"


def test_other_content_under_the_same_id_is_no_duplicate() -> None:
    first, second = seen(1), seen(2, texts=["other"])
    assert outcome(second, READ, [recorded(first)]) == "missing"
    conflict = recorded(second, "parked", reason="id-conflict")
    assert outcome(second, READ, [recorded(first), conflict]) == "parked"


def test_a_record_of_several_pieces_counts_by_its_least_finished() -> None:
    record = seen(1)
    pieces = [recorded(record, piece=(0, -1)), recorded(record, "parked", piece=(1, -1))]
    rest = ("b1", 2, -1)
    stages = Stages(read_up_to={0: 100}, pending=pending(record, "held", rest))
    assert outcome(record, stages, pieces) == "held"
    assert outcome(record, READ, [*pieces, recorded(record, piece=(2, -1))]) == "parked"


def test_a_record_that_lost_a_piece_is_missing() -> None:
    record = seen(1)
    pieces = [recorded(record, piece=(0, -1)), recorded(record, piece=(2, -1))]
    assert outcome(record, READ, pieces) == "missing"


def test_a_parked_piece_that_was_applied_from_a_later_copy_is_not_lost() -> None:
    record = seen(1)
    pieces = [recorded(record, piece=(0, -1)), recorded(record, piece=(1, -1), at=9), recorded(record, piece=(2, -1))]
    assert outcome(record, READ, pieces) == "applied"


def test_parts_of_a_message_must_follow_one_another() -> None:
    assert is_whole([("b", 0, 0), ("b", 0, 1)], 1)
    assert not is_whole([("b", 0, 0), ("b", 0, 2)], 1)
    assert not is_whole([("b", 0, 0)], 2)
    assert is_whole([("b", -1, -1)], 5)


def test_a_forgotten_user_has_erased_records_below_the_cut_off_only() -> None:
    cut_off = ForgetCutOff(datetime(2026, 11, 20, tzinfo=UTC), {(TOPIC, 0): 5})
    before, after = seen(4), seen(5)
    assert outcome_of_blob(before, facts_of(before), READ, (), cut_off) == "erased"
    assert outcome_of_blob(after, facts_of(after), READ, (), cut_off) == "missing"


def test_a_blob_that_was_deleted_before_it_came_is_erased() -> None:
    record = seen(3)
    assert outcome(record, READ, [recorded(record, "erased", at=-1)]) == "erased"


def test_the_original_of_a_copy_is_forwarded_wherever_the_copy_lies() -> None:
    tally = Tally()
    for offset, found in ((1, "missing"), (2, "parked"), (3, "duplicate"), (4, "applied")):
        tally.add((0, offset), found)  # type: ignore[arg-type]
        tally.add_copy_of((0, offset))
    tally.settle()
    assert tally.counts == {"forwarded": 3, "applied": 1}
    assert tally.agrees


def test_one_injected_loss_is_found_and_named() -> None:
    records = [seen(offset, blob_id=f"b{offset}") for offset in range(100)]
    rows = {record.position.offset: recorded(record) for record in records if record.position.offset != 41}
    tally = Tally()
    for record in records:
        found = [rows[record.position.offset]] if record.position.offset in rows else []
        tally.add(record.place, outcome(record, READ, found))
    assert tally.lacks_copies
    tally.settle()
    assert tally.missing == [(0, 41)]
    assert tally.counts == {"applied": 99, "missing": 1}
    assert not tally.agrees


def test_sums_agree_only_when_every_record_was_counted() -> None:
    tally = Tally()
    tally.add((0, 1), "applied")
    tally.records += 1
    assert not tally.agrees
