"""A crash between any two batches, at any of its moments, changes neither windows nor state; nor does a replay."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.buffer_store import MemoryPartitionStore, PartitionStore, RocksPartitionStore
from streams.raw_records import RawRecord
from tests.support.buffer_step import (
    HOUR_MS,
    START_MS,
    StepRun,
    chat,
    context,
    flush,
    forget,
    only_windows,
    policy,
    raw,
)

# Small limits, so that short logs close windows for every reason.
CONTEXT = context(
    policy(close_tokens=60, process_tokens=80, max_blobs=4, max_bytes=4000, max_age_ms=3 * HOUR_MS),
    max_blob_bytes=100_000,
)

USERS = st.sampled_from(["u1", "u2"])
IDS = st.none() | st.sampled_from([f"b{n}" for n in range(6)])
TEXTS = st.sampled_from(["hi", "a sentence of some length. ", "我喜欢北京。" * 5, "long text. " * 40])


def of_type(blob_type: str, user_id: str, blob_id: str | None, text: str) -> dict[str, Any]:
    if blob_type == "doc":
        return {"user_id": user_id, "id": blob_id, "blob_type": "doc", "blob_data": {"content": text}}
    return chat(text, user_id=user_id, id=blob_id)


BLOBS = st.builds(of_type, st.sampled_from(["chat", "doc"]), USERS, IDS, TEXTS)
FLUSHES = st.builds(lambda user_id, last: flush(user_id, last_blob_id=last), USERS, IDS)
VALUES: st.SearchStrategy[Any] = st.one_of(
    BLOBS, BLOBS, BLOBS, FLUSHES, st.builds(forget, USERS), st.just(b"not json"), st.none()
)
# Minutes since the record before; some are longer than the idle interval.
LOGS = st.lists(st.tuples(VALUES, st.sampled_from([0, 1, 20, 70])), max_size=40)

Crash = Literal["none", "before the commit", "before the store is written", "with the store lost"]


@dataclass(frozen=True)
class Batch:
    records: int
    crash: Crash


BATCHES = st.lists(
    st.builds(
        Batch,
        st.integers(1, 8),
        st.sampled_from(["none", "before the commit", "before the store is written", "with the store lost"]),
    ),
    max_size=30,
)


def log_of(values: Sequence[tuple[Any, int]]) -> list[RawRecord]:
    records = []
    now_ms = START_MS
    for offset, (value, minutes) in enumerate(values):
        now_ms += minutes * 60_000
        records.append(raw(value, offset, timestamp_ms=now_ms))
    return records


def undisturbed(records: Sequence[RawRecord]) -> StepRun:
    run = StepRun(settings=CONTEXT)
    for record in records:
        run.commit([record])
    return run


def disturbed(
    records: Sequence[RawRecord], batches: Sequence[Batch], open_store: Callable[[bool], PartitionStore]
) -> StepRun:
    """`open_store` opens what the worker before left, or an empty one if told that it is lost."""
    run = StepRun(open_store(True), CONTEXT)
    begin = 0
    for batch in [*batches, *[Batch(8, "none")] * len(records)]:
        taken = records[begin : begin + batch.records]
        match batch.crash:
            case "none":
                run.commit(taken)
            case "before the commit":
                run.decide(taken)
                run.restart(lambda: open_store(False))
                run.commit(taken)
            case "before the store is written":
                run.commit_to_kafka(taken)
                run.restart(lambda: open_store(False))
            case "with the store lost":
                run.commit_to_kafka(taken)
                run.restart(lambda: open_store(True))
        begin += batch.records
    return run


def assert_same(one: StepRun, other: StepRun) -> None:
    assert one.sent == other.sent
    assert one.final_state() == other.final_state()
    assert not one.state.pending


@given(LOGS, BATCHES)
@settings(max_examples=200)
def test_crashes_change_nothing_with_the_memory_store(values: Any, batches: list[Batch]) -> None:
    records = log_of(values)
    kept = MemoryPartitionStore()

    def open_store(lost: bool) -> PartitionStore:
        if lost:
            kept.destroy()
        return kept

    assert_same(disturbed(records, batches, open_store), undisturbed(records))


@given(LOGS, BATCHES)
@settings(max_examples=15)
def test_crashes_change_nothing_with_rocksdb(values: Any, batches: list[Batch]) -> None:
    records = log_of(values)
    with tempfile.TemporaryDirectory() as folder:

        def open_store(lost: bool) -> PartitionStore:
            store = RocksPartitionStore(Path(folder) / "partition-0")
            if lost:
                store.destroy()
            return store

        run = disturbed(records, batches, open_store)
        assert_same(run, undisturbed(records))
        run.store.close()


@given(LOGS)
@settings(max_examples=100)
def test_every_blob_is_in_one_window_or_in_the_buffer_or_forgotten(values: Any) -> None:
    records = [record for record in log_of(values) if b"forget-user" not in (record.value or b"")]
    run = StepRun(settings=CONTEXT)
    buffered = sum(run.commit([record]).counts["buffered"] for record in records)
    whole = [unit for window in only_windows(run.sent) for unit in window.units if unit.message_index is None]
    split = {
        unit.position.offset
        for window in only_windows(run.sent)
        for unit in window.units
        if unit.message_index is not None
    }
    waiting = sum(head.count for head in run.state.heads.values())
    assert len({unit.position.offset for unit in whole}) == len(whole)
    assert len(whole) + len(split) + waiting == buffered


@given(LOGS)
@settings(max_examples=50)
def test_the_units_of_a_user_stay_in_the_order_of_the_log(values: Any) -> None:
    run = undisturbed(log_of(values))
    for user_id in ("u1", "u2"):
        for blob_type in ("chat", "doc"):
            offsets = [
                unit.position.offset
                for window in only_windows(run.sent)
                if (window.user_id, window.blob_type) == (user_id, blob_type)
                for unit in window.units
            ]
            assert offsets == sorted(offsets)


@given(LOGS)
@settings(max_examples=50)
def test_a_replay_of_the_same_records_cuts_the_same_windows(values: Any) -> None:
    records = log_of(values)
    assert_same(undisturbed(records), undisturbed(records))


def test_windows_do_not_depend_on_when_they_are_cut() -> None:
    # The wall clock is nowhere in the step: these records lie a year in the past and minutes apart.
    records = [raw(chat(id=f"b{n}"), n, timestamp_ms=n * 30 * 60_000) for n in range(20)]
    assert [len(window.units) for window in only_windows(undisturbed(records).sent)] == [4, 4, 4, 4, 4]


@pytest.mark.parametrize("crash", ["before the commit", "before the store is written", "with the store lost"])
def test_each_moment_of_a_crash_is_really_tried(crash: Crash) -> None:
    records = [raw(chat(id=f"b{n}"), n) for n in range(10)]
    kept = MemoryPartitionStore()

    def open_store(lost: bool) -> PartitionStore:
        if lost:
            kept.destroy()
        return kept

    run = disturbed(records, [Batch(3, crash)] * 3, open_store)
    assert_same(run, undisturbed(records))
    assert [len(window.units) for window in only_windows(run.sent)] == [4, 4]
