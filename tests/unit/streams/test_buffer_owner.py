"""A batch of a partition as transactions of a size that a broker and a worker can hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from schemas.settings import BufferSettings, KafkaSettings
from streams import buffer_owner, partition_owner
from streams.buffer_memory import User
from streams.buffer_owner import BufferOwner
from streams.buffer_ownership import BufferOwnerFactory
from streams.buffer_state import PartitionState
from streams.buffer_store import MemoryPartitionStore, RocksPartitionStore
from streams.raw_records import Outgoing
from tests.support.buffer_step import START_MS, chat, context, flush, forget, only_windows, policy, raw


class Committed:
    """Takes transactions as the broker would."""

    def __init__(self) -> None:
        self.transactions: list[Sequence[Outgoing]] = []
        self.next_offsets: list[int | None] = []

    async def commit(
        self, outgoing: Sequence[Outgoing], next_offset: int | None, changelog: Mapping[bytes, bytes | None]
    ) -> int | None:
        self.transactions.append(list(outgoing))
        self.next_offsets.append(next_offset)
        return len(self.transactions) if changelog else None


async def test_records_that_grow_when_they_are_cut_are_committed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_owner, "MAX_SENT_BYTES", 100_000)
    limits = policy(close_tokens=50, process_tokens=60)
    store = MemoryPartitionStore()
    committed = Committed()
    monkeypatch.setattr(buffer_owner, "PartitionTransactions", lambda *_: committed)
    owner = BufferOwner(KafkaSettings(), BufferSettings(), context(limits), store, lambda *_: None, lambda _: None)
    monkeypatch.setattr(owner, "_state", PartitionState(store))
    growing = chat(*["some text"] * 30, fields={"large": "x" * 2_000})
    await owner._process([raw({**growing, "id": f"b{n}"}, n) for n in range(10)])
    sizes = [sum(len(record.value) for record in transaction) for transaction in committed.transactions]
    assert len(sizes) > 2
    assert max(sizes) < 200_000
    assert committed.next_offsets == sorted(committed.next_offsets, key=lambda offset: offset or 0)
    assert committed.next_offsets[-1] == 10
    windows = [window for transaction in committed.transactions for window in only_windows(transaction)]
    texts = [unit.blob_id for window in windows for unit in window.units]
    assert texts == [f"b{n}" for n in range(10) for _ in range(30)]


async def test_users_who_come_and_go_leave_no_deadlines_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer_owner, "MAX_STALE_DEADLINES", 10)
    monkeypatch.setattr(buffer_owner, "PartitionTransactions", lambda *_: Committed())
    store = MemoryPartitionStore()
    owner = BufferOwner(KafkaSettings(), BufferSettings(), context(), store, lambda *_: None, lambda _: None)
    monkeypatch.setattr(owner, "_state", PartitionState(store))
    offset = 0
    for number in range(100):
        leaving = [raw(chat(user_id=f"u{number}"), offset), raw(flush(f"u{number}"), offset + 1)]
        await owner._process([*leaving, raw(chat(user_id="stays", id=f"b{number}"), offset + 2)])
        await owner._check(START_MS)
        offset += 3
    # Of those who left at most as many as there are others, and ten.
    assert len(owner._deadlines) <= 12
    assert len(owner._queued_keys) == len(owner._deadlines)
    assert "stays" in {key.user_id for _, key, _ in owner._deadlines}


async def test_a_forget_is_told_as_purged_once_the_copy_on_disk_was_made_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(buffer_owner, "PartitionTransactions", lambda *_: Committed())
    store = RocksPartitionStore(tmp_path / "p")
    owner = BufferOwner(KafkaSettings(), BufferSettings(), context(), store, lambda *_: None, lambda _: None)
    monkeypatch.setattr(owner, "_state", PartitionState(store))
    await owner._process([raw(chat("I live in Lyon.", user_id="frank"), 0), raw(chat(user_id="ann"), 1)])
    assert store.is_clean_at(2)
    await owner._process([raw(forget("frank"), 2)])
    view = owner.view(User("default", "frank"))
    assert (view.next_offset, view.blobs, view.is_purged) == (3, (), False)
    # A kill now must not let the next owner think that all was done.
    assert not store.is_clean_at(3)
    await owner._process([raw(chat(user_id="ann"), 3)])
    assert not store.is_clean_at(4)
    await owner._check(START_MS)
    assert owner.view(User("default", "frank")).is_purged
    assert store.is_clean_at(4)
    assert b"Lyon" not in b"".join(path.read_bytes() for path in (tmp_path / "p").iterdir())
    assert len(owner.view(User("default", "ann")).blobs) == 2


async def test_a_copy_that_cannot_be_made_anew_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(buffer_owner, "PartitionTransactions", lambda *_: Committed())
    store = RocksPartitionStore(tmp_path / "p")
    owner = BufferOwner(KafkaSettings(), BufferSettings(), context(), store, lambda *_: None, lambda _: None)
    monkeypatch.setattr(owner, "_state", PartitionState(store))
    await owner._process([raw(chat(user_id="ann"), 0), raw(forget("frank"), 1)])

    def full() -> bool:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(store, "copy_live", full)
        await owner._check(START_MS)
    assert not owner.view(User("default", "frank")).is_purged
    monkeypatch.setattr(owner, "_purge_at_s", 0.0)
    await owner._check(START_MS)
    assert owner.view(User("default", "frank")).is_purged
    assert len(owner.view(User("default", "ann")).blobs) == 1


async def test_a_store_in_memory_has_nothing_to_purge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer_owner, "PartitionTransactions", lambda *_: Committed())
    store = MemoryPartitionStore()
    owner = BufferOwner(KafkaSettings(), BufferSettings(), context(), store, lambda *_: None, lambda _: None)
    monkeypatch.setattr(owner, "_state", PartitionState(store))
    await owner._process([raw(chat(user_id="frank"), 0), raw(forget("frank"), 1)])
    assert owner.view(User("default", "frank")).is_purged


def test_copies_of_partitions_that_another_worker_has_are_deleted(tmp_path: Path) -> None:
    settings = BufferSettings(store="rocksdb", data_dir=tmp_path)
    factory = BufferOwnerFactory(KafkaSettings(), settings, 3, len, lambda _: None)
    slot = tmp_path / "memostream-buffer" / "worker-0"
    for partition in range(3):
        (slot / f"partition-{partition}").mkdir(parents=True)
    factory.keep_only([TopicPartition("chat-messages", 1)])
    assert [path.name for path in slot.iterdir() if path.is_dir()] == ["partition-1"]
    factory.close()
