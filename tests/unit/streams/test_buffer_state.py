"""Committed state and its overlay, and what is put right on loading."""

import pytest

from schemas.errors import NewerVersion
from streams.buffer_codec import HeadKey, encode_entry, encode_head, entry_key_bytes, head_key_bytes
from streams.buffer_state import PartitionState
from streams.buffer_store import MemoryPartitionStore
from streams.windowing import add
from tests.support.buffer_step import START_MS, unit

KEY = HeadKey("default", "u1", "chat")


def buffered(state: PartitionState, *blob_ids: str) -> None:
    for blob_id in blob_ids:
        held = unit(blob_id)
        entry = encode_entry(held)
        state.append(KEY, add(state.head(KEY), held, START_MS, len(entry)), held, entry)


def test_changes_are_seen_at_once_and_stored_only_by_the_commit() -> None:
    store = MemoryPartitionStore()
    state = PartitionState(store)
    buffered(state, "b1", "b2")
    assert state.head(KEY) is not None
    assert state.buffered_hash("default", "u1", "b2") == unit("b2").content_hash
    assert list(store.items()) == []
    state.commit(7)
    assert {key for key, _ in store.items()} == {
        head_key_bytes(KEY),
        entry_key_bytes(KEY, 0),
        entry_key_bytes(KEY, 1),
    }
    assert (store.next_offset, state.pending, state.touched) == (7, {}, set())


def test_taking_a_buffer_returns_units_in_order_whether_committed_or_not() -> None:
    state = PartitionState(MemoryPartitionStore())
    buffered(state, "b1", "b2")
    state.commit(1)
    buffered(state, "b3")
    assert [entry.blob_id for entry in state.take(KEY)] == ["b1", "b2", "b3"]
    assert state.head(KEY) is None
    assert state.buffered_hash("default", "u1", "b1") is None
    assert state.take(KEY) == []


def test_a_taken_buffer_leaves_nothing_in_the_store() -> None:
    store = MemoryPartitionStore()
    state = PartitionState(store)
    buffered(state, "b1", "b2")
    state.commit(1)
    state.take(KEY)
    state.commit(2)
    assert list(store.items()) == []


def test_a_buffer_taken_and_filled_again_before_the_commit_holds_only_the_new() -> None:
    store = MemoryPartitionStore()
    state = PartitionState(store)
    buffered(state, "b1", "b2")
    state.commit(1)
    state.take(KEY)
    buffered(state, "b3")
    state.commit(2)
    assert [held.blob_id for held in PartitionState(store).take(KEY)] == ["b3"]


def test_entries_outside_their_heads_range_are_removed_on_loading() -> None:
    store = MemoryPartitionStore()
    held = unit("kept")
    orphan = HeadKey("default", "nobody", "chat")
    store.write(
        {
            head_key_bytes(KEY): encode_head(add(None, held, START_MS, 1)),
            entry_key_bytes(KEY, 0): encode_entry(held),
            entry_key_bytes(KEY, 1): encode_entry(unit("stale")),
            entry_key_bytes(orphan, 0): encode_entry(unit("orphan")),
        },
        5,
    )
    state = PartitionState(store)
    assert state.pending == {entry_key_bytes(KEY, 1): None, entry_key_bytes(orphan, 0): None}
    assert state.buffered_hash("default", "u1", "stale") is None
    assert state.buffered_hash("default", "nobody", "orphan") is None
    state.commit(6)
    assert [held.blob_id for held in PartitionState(store).take(KEY)] == ["kept"]
    assert len(dict(store.items())) == 2


def test_an_entry_that_is_missing_is_an_error_and_not_a_smaller_window() -> None:
    store = MemoryPartitionStore()
    store.write({head_key_bytes(KEY): encode_head(add(None, unit("b1"), START_MS, 1))}, 1)
    with pytest.raises(LookupError, match="entry 0 of a head with 1 is missing"):
        PartitionState(store).take(KEY)


@pytest.mark.parametrize("newer", ["head", "entry"])
def test_state_of_a_newer_worker_is_not_loaded(newer: str) -> None:
    store = MemoryPartitionStore()
    held = unit("b1")
    values = {"head": encode_head(add(None, held, START_MS, 1)), "entry": encode_entry(held)}
    values[newer] = values[newer].replace(b'"v":1', b'"v":2', 1)
    store.write({head_key_bytes(KEY): values["head"], entry_key_bytes(KEY, 0): values["entry"]}, 1)
    with pytest.raises(NewerVersion):
        PartitionState(store)
