"""Who may tell of a buffer: the owner of its partition, as long as the broker says that it is."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from schemas.buffer_views import BufferView
from schemas.errors import RetryLater
from streams import owned_buffers
from streams.buffer_memory import User
from streams.buffer_owner import BufferOwner
from streams.buffer_service import NotTheOwner
from streams.owned_buffers import Coalesced, OwnedBuffers
from streams.ownership import PartitionOwners
from tests.support.buffer_step import FOUR, HOME, TOPIC

U1 = User("default", "u1")
OURS, THEIRS = "http://ours:1", "http://theirs:1"


class Owner(BufferOwner):
    """Has a view and nothing else."""

    def __init__(self) -> None:
        self.waits: list[tuple[int, float]] = []

    async def wait_for(self, offset: int, timeout_s: float) -> None:
        self.waits.append((offset, timeout_s))

    def view(self, user: User) -> BufferView:
        return BufferView(partition=HOME, next_offset=5)


class Group:
    """Which partitions this worker has, and what the broker says of it."""

    def __init__(self) -> None:
        self.owners: dict[TopicPartition, Any] = {}
        self.urls: dict[int, str] = {}
        self.asked = 0
        self.answer: Callable[[], bool] = lambda: True

    async def confirm(self) -> bool:
        self.asked += 1
        return self.answer()

    @property
    def buffers(self) -> OwnedBuffers:
        owners = cast(PartitionOwners, SimpleNamespace(owner_of=self.owners.get))
        return OwnedBuffers(owners, TOPIC, FOUR, self.confirm, self.urls.get, OURS)


@pytest.fixture
def group() -> Group:
    return Group()


def home() -> TopicPartition:
    return TopicPartition(TOPIC, HOME)


async def test_the_owner_waits_for_the_record_and_answers_once_the_broker_has_confirmed(group: Group) -> None:
    owner = group.owners[home()] = Owner()
    assert (await group.buffers.view(U1, 4, 2.0)).next_offset == 5
    assert owner.waits == [(4, 2.0)]
    assert group.asked == 1


async def test_another_worker_is_named_where_the_partition_is_there(group: Group) -> None:
    group.urls[HOME] = THEIRS
    with pytest.raises(NotTheOwner) as caught:
        await group.buffers.view(U1, None, 0)
    assert caught.value.url == THEIRS
    assert group.asked == 0


async def test_nobody_is_named_before_anything_is_assigned(group: Group) -> None:
    with pytest.raises(NotTheOwner) as caught:
        await group.buffers.view(U1, None, 0)
    assert caught.value.url is None


async def test_a_partition_that_was_assigned_and_is_not_open_yet_is_to_be_asked_for_later(group: Group) -> None:
    group.urls[HOME] = OURS
    with pytest.raises(RetryLater, match="changing hands"):
        await group.buffers.view(U1, None, 0)


async def test_a_former_owner_that_was_frozen_is_not_believed(group: Group) -> None:
    group.owners[home()] = Owner()
    group.answer = lambda: False
    with pytest.raises(RetryLater, match="does not confirm"):
        await group.buffers.view(U1, None, 0)


async def test_a_partition_that_was_taken_while_the_broker_was_asked_is_not_told_of(group: Group) -> None:
    group.owners[home()] = Owner()

    def taken() -> bool:
        group.owners[home()] = Owner()
        return True

    group.answer = taken
    with pytest.raises(RetryLater, match="changing hands"):
        await group.buffers.view(U1, None, 0)


async def test_a_broker_that_does_not_answer_counts_as_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owned_buffers, "CONFIRM_TIMEOUT_S", 0.01)

    async def away() -> bool:
        raise RetryLater("the broker is away")

    async def silent() -> bool:
        await asyncio.Event().wait()
        return True

    assert await Coalesced(away)() is False
    assert await Coalesced(silent)() is False


async def test_those_who_come_while_the_broker_is_asked_share_one_question_that_begins_after_they_came() -> None:
    answers = [asyncio.Event(), asyncio.Event(), asyncio.Event()]
    asked = 0

    async def ask() -> bool:
        nonlocal asked
        asked += 1
        await answers[asked - 1].wait()
        return asked != 2

    confirm = Coalesced(ask)
    first = asyncio.create_task(confirm())
    while not asked:
        await asyncio.sleep(0)
    others = [asyncio.create_task(confirm()) for _ in range(5)]
    others[0].cancel()
    answers[0].set()
    assert await first is True
    answers[1].set()
    assert await asyncio.gather(*others[1:]) == [False] * 4
    answers[2].set()
    assert await confirm() is True
    assert asked == 3
