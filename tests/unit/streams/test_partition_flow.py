"""A partition that comes faster than it is decided is paused, and resumed when there is room."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from aiokafka import TopicPartition

from schemas.settings import BufferSettings, KafkaSettings
from schemas.tokens import TokenCounter, estimate_tokens
from streams import buffer_owner
from streams.buffer_owner import BufferOwner
from streams.buffer_state import PartitionState
from streams.buffer_store import MemoryPartitionStore
from streams.partition_owner import LARGE_RECORD_BYTES, MAX_BATCH_BYTES, MAX_QUEUED_BATCHES
from streams.raw_records import Outgoing, RawRecord
from tests.support.buffer_step import chat, context, raw

BATCH_RECORDS = 10
DEADLINE_S = 30.0


class Flow:
    """Keeps what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.resumed = asyncio.Event()

    def pause(self, place: TopicPartition) -> None:
        self.told.append(f"pause {place.partition}")

    def resume(self, place: TopicPartition) -> None:
        self.told.append(f"resume {place.partition}")
        self.resumed.set()


class Transactions:
    """Commits only once it is let."""

    def __init__(self) -> None:
        self.may_commit = asyncio.Event()
        self.next_offset = 0

    async def open(self) -> None: ...

    async def commit(
        self, outgoing: Sequence[Outgoing], next_offset: int | None, changelog: Mapping[bytes, bytes | None]
    ) -> int | None:
        await self.may_commit.wait()
        self.next_offset = next_offset or self.next_offset
        return 1 if changelog else None


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> Transactions:
    made = Transactions()
    monkeypatch.setattr(buffer_owner, "PartitionTransactions", lambda *_: made)
    return made


def new_owner(monkeypatch: pytest.MonkeyPatch, count_tokens: TokenCounter = estimate_tokens) -> BufferOwner:
    def fail(error: BaseException) -> None:
        raise error

    settings = BufferSettings(transaction_max_records=BATCH_RECORDS)
    store = MemoryPartitionStore()
    owner = BufferOwner(
        KafkaSettings(), settings, replace(context(), count_tokens=count_tokens), store, lambda *_: None, fail
    )
    monkeypatch.setattr(owner, "_state", PartitionState(store))
    return owner


def records(count: int, first: int = 0) -> list[RawRecord]:
    return [raw({**chat("hello"), "id": f"b{number}"}, number) for number in range(first, first + count)]


async def committed(transactions: Transactions, next_offset: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while transactions.next_offset < next_offset:
            await asyncio.sleep(0.01)


async def test_more_than_a_few_batches_pause_the_partition_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch, transactions: Transactions
) -> None:
    owner, flow = new_owner(monkeypatch), Flow()
    owner.start(flow)
    enough = MAX_QUEUED_BATCHES * BATCH_RECORDS
    owner.put(records(enough))
    assert flow.told == []
    owner.put(records(1, enough))
    # Once, however much comes that was fetched before.
    owner.put(records(5, enough + 1))
    assert flow.told == ["pause 0"]
    transactions.may_commit.set()
    await committed(transactions, enough + 6)
    assert flow.told == ["pause 0", "resume 0"]
    owner.abandon()
    await owner.release_store()


async def test_large_records_pause_the_partition_by_their_bytes(
    monkeypatch: pytest.MonkeyPatch, transactions: Transactions
) -> None:
    owner, flow = new_owner(monkeypatch), Flow()
    owner.start(flow)
    half = raw(b"x" * (MAX_BATCH_BYTES * MAX_QUEUED_BATCHES // 2), 0)
    owner.put([half])
    assert flow.told == []
    owner.put([raw(half.value, 1), raw(b"x", 2)])
    assert flow.told == ["pause 0"]
    transactions.may_commit.set()
    await committed(transactions, 3)
    assert flow.told == ["pause 0", "resume 0"]
    owner.abandon()
    await owner.release_store()


async def test_an_abandoned_owner_resumes_nothing(monkeypatch: pytest.MonkeyPatch, transactions: Transactions) -> None:
    owner, flow = new_owner(monkeypatch), Flow()
    owner.start(flow)
    owner.put(records(MAX_QUEUED_BATCHES * BATCH_RECORDS + 1))
    owner.abandon()
    transactions.may_commit.set()
    await owner.release_store()
    assert flow.told == ["pause 0"]
    assert transactions.next_offset == 0


async def test_the_loop_goes_on_while_the_tokens_of_a_large_record_are_counted(
    monkeypatch: pytest.MonkeyPatch, transactions: Transactions
) -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    def count(text: str) -> int:
        begun.set()
        assert may_go_on.wait(DEADLINE_S)
        return estimate_tokens(text)

    owner = new_owner(monkeypatch, count)
    transactions.may_commit.set()
    owner.start(Flow())
    owner.put([raw(chat("a" * LARGE_RECORD_BYTES, id="large"), 0)])
    async with asyncio.timeout(DEADLINE_S):
        while not begun.is_set():
            await asyncio.sleep(0.001)
    # Only a loop that runs comes to this line.
    may_go_on.set()
    await committed(transactions, 1)
    assert [head.count for head in owner.heads()] == [1]
    owner.abandon()
    await owner.release_store()
