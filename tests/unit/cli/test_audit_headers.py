"""Records with headers that somebody else made up are accounted for like all others."""

from dataclasses import dataclass
from typing import Any

import pytest

from cli.audit import seen_record
from schemas import headers as names

ORIGIN = (names.ORIGIN_TOPIC, names.ORIGIN_PARTITION, names.ORIGIN_OFFSET, names.ORIGIN_TIMESTAMP)


@dataclass
class Record:
    """What aiokafka returns, as far as it is used."""

    headers: list[tuple[str, Any]]
    topic: str = "chat-messages"
    partition: int = 0
    offset: int = 7
    timestamp: int = 1_000
    key: bytes | None = b"ann"
    value: bytes | None = b"{}"


@pytest.mark.parametrize("value", [None, b"", b"x", b"\xff", b"9" * 5000, b"99999999999999999999"])
def test_headers_that_name_no_position_give_no_origin(value: bytes | None) -> None:
    assert seen_record(Record([(name, value) for name in ORIGIN])).origin is None


@pytest.mark.parametrize(("value", "carried"), [(None, None), (b"b1", "b1"), (b"\xff", "\ufffd")])
def test_an_id_that_is_no_text_is_read_all_the_same(value: bytes | None, carried: str | None) -> None:
    assert seen_record(Record([(names.BLOB_ID, value)])).carried_id == carried
