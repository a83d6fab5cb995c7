"""What the owner of a partition shows of a user: what is committed, up to which offset, and what has become of it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from schemas.errors import RetryLater
from schemas.settings import BufferSettings, KafkaSettings
from schemas.windows import Position
from streams import buffer_owner
from streams.buffer_memory import User
from streams.buffer_owner import BufferOwner
from streams.buffer_state import PartitionState
from streams.buffer_store import MemoryPartitionStore
from streams.raw_records import Outgoing
from tests.support.buffer_step import START_MS, TOPIC, chat, context, flush, forget, only_windows, policy, raw

U1 = User("default", "u1")


class Broker:
    """Takes a transaction when it is let."""

    def __init__(self) -> None:
        self.lets = asyncio.Event()
        self.lets.set()
        self.asked = asyncio.Event()
        self.sent: list[Outgoing] = []

    async def commit(
        self, outgoing: Sequence[Outgoing], next_offset: int | None, changelog: Mapping[bytes, bytes | None]
    ) -> int | None:
        self.asked.set()
        await self.lets.wait()
        self.sent += outgoing
        return 1 if changelog else None


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(buffer_owner, "PartitionTransactions", lambda *_: made)
    return made


@pytest.fixture
def owner(broker: Broker) -> BufferOwner:
    store = MemoryPartitionStore()
    limits = policy(max_blobs=3)
    made = BufferOwner(KafkaSettings(), BufferSettings(), context(limits), store, lambda *_: None, lambda _: None)
    made._state = PartitionState(store)
    return made


async def decide(owner: BufferOwner, *values: dict[str, Any], at: int = 0) -> None:
    await owner._process([raw(value, at + number) for number, value in enumerate(values)])


def place(offset: int) -> Position:
    return Position(topic=TOPIC, partition=0, offset=offset, timestamp_ms=START_MS)


def ids(owner: BufferOwner, user: User = U1) -> list[str]:
    return [blob.blob_id for blob in owner.view(user).blobs]


async def test_a_view_shows_ids_places_and_hashes_of_a_user_of_all_types_in_order(owner: BufferOwner) -> None:
    doc = {"user_id": "u1", "id": "d", "blob_type": "doc", "blob_data": {"content": "a text"}}
    await decide(owner, chat(id="a"), doc, chat(user_id="u2", id="x"), chat(id="b"), chat(id="c", project_id="p"))
    view = owner.view(U1)
    assert [(blob.blob_id, blob.blob_type, blob.position.offset) for blob in view.blobs] == [
        ("a", "chat", 0),
        ("d", "doc", 1),
        ("b", "chat", 3),
    ]
    assert view.next_offset == 5
    assert "hello" not in view.model_dump_json()
    assert "a text" not in view.model_dump_json()
    assert ids(owner, User("p", "u1")) == ["c"]


async def test_nothing_is_shown_before_it_is_committed(owner: BufferOwner, broker: Broker) -> None:
    await decide(owner, chat(id="a"))
    broker.lets.clear()
    broker.asked.clear()
    deciding = asyncio.create_task(decide(owner, chat(id="b"), flush(), at=1))
    await broker.asked.wait()
    view = owner.view(U1)
    assert ([blob.blob_id for blob in view.blobs], view.closed, view.next_offset) == (["a"], (), 1)
    assert not view.has_passed(place(1))
    broker.lets.set()
    await deciding
    view = owner.view(U1)
    assert (view.blobs, view.next_offset) == ((), 3)
    assert view.has_passed(place(2))


async def test_a_window_is_told_with_its_blobs_and_with_the_record_that_closed_it(
    owner: BufferOwner, broker: Broker
) -> None:
    await decide(owner, chat(id="a"), chat(id="b"), chat(id="c"), chat(id="d"), flush())
    first, second = only_windows(broker.sent)
    view = owner.view(U1)
    assert view.windows_closed_by(place(2)) == (first.window_id,)
    assert view.windows_closed_by(place(4)) == (second.window_id,)
    assert [view.windows_of(name) for name in "abcd"] == [(first.window_id,)] * 3 + [(second.window_id,)]
    assert [(window.reason, [blob.offset for blob in window.blobs]) for window in view.closed] == [
        ("size", [0, 1, 2]),
        ("flush", [3]),
    ]


async def test_a_blob_that_is_cut_is_in_every_window_that_holds_a_piece(owner: BufferOwner, broker: Broker) -> None:
    owner._context = context(policy(close_tokens=50, process_tokens=60))
    await decide(owner, chat(*["some text"] * 30, id="long"))
    windows = only_windows(broker.sent)
    assert len(windows) > 1
    assert owner.view(U1).windows_of("long") == tuple(window.window_id for window in windows)


async def test_a_record_that_was_parked_is_told_with_its_reason_and_one_sent_twice_is_not(owner: BufferOwner) -> None:
    await decide(owner, chat("one", id="a"), chat("other", id="a"), chat("one", id="a"))
    view = owner.view(U1)
    assert [view.refusal_of(place(offset)) for offset in range(3)] == [None, "id-conflict", None]
    assert [blob.blob_id for blob in view.blobs] == ["a"]


async def test_a_forget_takes_what_was_buffered_and_what_was_remembered(owner: BufferOwner) -> None:
    await decide(owner, chat("one", id="a"), chat("other", id="a"), flush(), chat(id="b"), forget(), chat(id="c"))
    view = owner.view(U1)
    assert ([blob.blob_id for blob in view.blobs], view.closed, view.parked) == (["c"], (), ())
    assert view.has_passed(place(5))


async def test_who_waits_for_a_record_is_woken_by_its_commit(owner: BufferOwner) -> None:
    waiting = asyncio.create_task(owner.wait_for(1, timeout_s=60))
    await decide(owner, chat(id="a"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await decide(owner, chat(id="b"), at=1)
    await waiting
    assert owner.view(U1).has_passed(place(1))


async def test_who_waits_for_a_record_that_does_not_come_is_let_go(owner: BufferOwner) -> None:
    await owner.wait_for(0, timeout_s=0.01)
    assert not owner.view(U1).has_passed(place(0))


async def test_an_owner_that_is_abandoned_wakes_who_waits_and_shows_nothing_more(owner: BufferOwner) -> None:
    await decide(owner, chat(id="a"))
    waiting = asyncio.create_task(owner.wait_for(1, timeout_s=60))
    await asyncio.sleep(0)
    owner.abandon()
    await waiting
    with pytest.raises(RetryLater, match="changing hands"):
        owner.view(U1)
