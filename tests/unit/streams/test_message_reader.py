"""Whether a record that lies at a position is the blob that was there."""

from typing import Any

import orjson
import pytest

from schemas import headers as names
from schemas.identity import position_blob_id
from schemas.sought_blobs import Absence, FoundBlob, SoughtBlob
from schemas.windows import Position
from streams.blob_records import read_unit
from streams.message_reader import recognise
from streams.raw_records import RawRecord, origin_headers

TOPIC = "chat-messages"
ORIGIN = Position(topic=TOPIC, partition=1, offset=9, timestamp_ms=50)


def record(offset: int = 3, text: str = "I moved to Oslo", **more: Any) -> RawRecord:
    document: dict[str, Any] = {"user_id": "ann", "blob_data": {"messages": [{"role": "user", "content": text}]}}
    headers = more.pop("headers", ())
    return RawRecord(TOPIC, 0, offset, 100, b"ann", orjson.dumps({**document, "id": "b1", **more}), headers)


def sought(of: RawRecord, *positions: Position, user_id: str = "ann") -> SoughtBlob:
    found = read_unit(of)
    assert found is not None
    unit = found[1]
    return SoughtBlob("default", user_id, unit.blob_id, unit.content_hash, positions or (of.position,))


def recognised(blob: SoughtBlob, *read: RawRecord | tuple[Position, Absence]) -> FoundBlob:
    places: dict[tuple[str, int, int], RawRecord | Absence] = {}
    for item in read:
        if isinstance(item, RawRecord):
            places[item.topic, item.partition, item.offset] = item
        else:
            places[item[0].topic, item[0].partition, item[0].offset] = item[1]
    return recognise(blob, places)


def test_a_record_of_the_same_user_id_and_content_is_the_blob() -> None:
    found = recognised(sought(record()), record())
    assert found.unit is not None
    assert found.absence is None
    assert found.unit.content["blob_data"]["messages"][0]["content"] == "I moved to Oslo"
    assert found.unit.position == record().position


@pytest.mark.parametrize(
    "other",
    [
        record(text="I moved to Rome"),
        record(user_id="bob"),
        record(project_id="shop"),
        record(id="b2"),
        RawRecord(TOPIC, 0, 3, 100, b"ann", None),
        RawRecord(TOPIC, 0, 3, 100, b"ann", b"no json"),
        RawRecord(TOPIC, 0, 3, 100, b"ann", b'{"command": "flush", "user_id": "ann"}'),
    ],
    ids=["text", "user", "project", "id", "null", "no json", "command"],
)
def test_any_other_record_at_its_place_is_not_shown(other: RawRecord) -> None:
    assert recognised(sought(record()), other) == FoundBlob(None, "replaced")


def test_an_id_that_was_derived_from_the_first_position_is_recognised_where_the_record_was_forwarded_to() -> None:
    forwarded = record(id=None, headers=origin_headers(ORIGIN))
    found = recognised(sought(forwarded), forwarded)
    assert found.unit is not None
    assert found.unit.blob_id == position_blob_id(TOPIC, 1, 9, 50)
    assert found.unit.origin == ORIGIN


def test_headers_that_name_no_position_do_not_stop_the_search() -> None:
    broken = record(headers=((names.ORIGIN_TOPIC, b"x"),))
    assert recognised(sought(record()), broken).absence == "replaced"


def test_the_next_position_is_tried_and_the_first_one_says_why_there_is_none() -> None:
    first = Position(topic=TOPIC, partition=0, offset=1, timestamp_ms=1)
    blob = sought(record(), first, record().position)
    assert recognised(blob, (first, "removed"), record()).unit is not None
    assert recognised(blob, (first, "removed"), record(text="other")) == FoundBlob(None, "removed")
    assert recognised(blob) == FoundBlob(None, "unanswered")
