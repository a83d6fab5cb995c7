"""Keys and values of the changelog."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import NewerVersion
from streams.buffer_codec import (
    HeadKey,
    decode_entry,
    decode_head,
    decode_key,
    encode_entry,
    encode_head,
    entry_identity,
    entry_key_bytes,
    head_key_bytes,
)
from streams.windowing import add
from tests.support.buffer_step import START_MS, unit

IDS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
KEYS = st.builds(HeadKey, IDS, IDS, st.sampled_from(["chat", "doc"]))


@given(KEYS, st.integers(0, 10**9))
def test_keys_come_back_as_they_were_written(key: HeadKey, number: int) -> None:
    assert decode_key(head_key_bytes(key)) == (key, None)
    assert decode_key(entry_key_bytes(key, number)) == (key, number)


@given(KEYS, KEYS)
def test_no_two_buffers_share_a_key(one: HeadKey, other: HeadKey) -> None:
    assert (head_key_bytes(one) == head_key_bytes(other)) == (one == other)


def test_heads_and_entries_come_back_as_they_were_written() -> None:
    held = unit("b1")
    head = add(None, held, START_MS, 100)
    assert decode_head(encode_head(head)) == head
    assert decode_entry(encode_entry(held)) == held
    assert entry_identity(encode_entry(held)) == ("b1", held.content_hash)


def test_a_newer_state_stops_the_worker() -> None:
    newer = encode_head(add(None, unit(), START_MS, 1)).replace(b'"v":1', b'"v":2')
    for decode in (decode_head, decode_entry, entry_identity):
        with pytest.raises(NewerVersion, match="holds v 2, this worker reads up to 1"):
            decode(newer)


def test_what_is_kept_of_a_message_takes_no_more_memory_than_its_bytes() -> None:
    key, count = HeadKey("default", "u1", "chat"), 1000
    tracemalloc.start()
    try:
        kept = [entry_key_bytes(key, number) for number in range(count)]
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < count * (len(kept[-1]) + 100)
