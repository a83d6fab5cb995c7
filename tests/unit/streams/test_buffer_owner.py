"""A batch of a partition as transactions of a size that a broker and a worker can hold."""

from collections.abc import Mapping, Sequence

import pytest

from schemas.settings import BufferSettings, KafkaSettings
from streams import buffer_owner, partition_owner
from streams.buffer_owner import BufferOwner
from streams.buffer_state import PartitionState
from streams.buffer_store import MemoryPartitionStore
from streams.raw_records import Outgoing
from tests.support.buffer_step import START_MS, chat, context, flush, only_windows, policy, raw


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
