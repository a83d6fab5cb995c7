"""Batches with a header's name that is no UTF-8 are decoded like any other; nothing else of them changes."""

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords

from streams.header_names import readable
from tests.support.odd_headers import CODECS, NoText, new_builder

Headers = list[tuple[str, bytes | None]]

VALUE = b'{"user_id": "u1"}' * 20
# Names whose lengths need one, two and three bytes.
ODD_NAMES = [b"\xff", b"trace\xc3", b"\x80" * 100, b"\xfe" * 10_000]


def batch_of(all_headers: Sequence[Headers], codec: str = "none", offset: int = 0) -> bytes:
    """A transactional batch whose offsets have gaps, as compaction leaves them."""
    builder = new_builder(codec, is_transactional=True, producer_id=7)
    for number, headers in enumerate(all_headers):
        assert builder.append(3 * number, 1000 + number, b"u1" if number % 2 else None, VALUE, headers) is not None
    batch = builder.build()
    # The broker sets it, and the checksum does not cover it.
    batch[:8] = offset.to_bytes(8, "big")
    return bytes(batch)


def read(fetched: bytes) -> list[Any]:
    """Of each batch what a fetcher looks at, and its records."""
    records, found = MemoryRecords(fetched), []
    while records.has_next():
        batch: Any = records.next_batch()
        assert batch.validate_crc()
        seen = (batch.base_offset, batch.next_offset, batch.producer_id, batch.is_transactional, batch.is_control_batch)
        found.append((seen, [(item.offset, item.timestamp, item.key, item.value, item.headers) for item in batch]))
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_names_that_are_no_utf8_become_text_and_all_else_stays(codec: str) -> None:
    usual: Headers = [("trace", b"\xff"), ("größe", None)]
    odd: list[Headers] = [[*usual, (NoText(raw), b"\x00\xff"), ("last", b"")] for raw in ODD_NAMES]
    expected: list[Headers] = [
        [*usual, (raw.decode("utf-8", "backslashreplace"), b"\x00\xff"), ("last", b"")] for raw in ODD_NAMES
    ]

    def fetched(headers: list[Headers]) -> bytes:
        """Batches on both sides of the one in question."""
        return batch_of([usual], codec) + batch_of([[], *headers], codec, 100) + batch_of([[]], codec, 200)

    assert read(readable(fetched(odd))) == read(fetched(expected))


def test_batches_that_can_be_read_are_handed_on_as_they_are() -> None:
    fetched = batch_of([[("trace", b"\xff")], []]) + batch_of([[]], "zstd", 50)
    assert readable(fetched) is fetched
    assert readable(b"") == b""


def test_a_batch_that_the_end_of_a_fetch_cuts_off_is_left_to_the_next_fetch() -> None:
    odd, next_one = batch_of([[(NoText(b"\xff"), b"")]]), batch_of([[]], offset=9)
    cut = next_one[: len(next_one) // 2]
    assert readable(odd + cut) == readable(odd) + cut


def test_a_batch_whose_checksum_is_wrong_stays_wrong() -> None:
    """Mending it would make bytes that a disk or a wire has damaged look sound."""
    damaged = bytearray(batch_of([[(NoText(b"\xff"), b"")]]))
    damaged[-20] ^= 0xFF
    assert readable(bytes(damaged)) == bytes(damaged)
