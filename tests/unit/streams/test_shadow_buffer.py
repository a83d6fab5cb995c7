"""What a shadow takes of a partition, what it sends, and when it closes tails."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from aiokafka import TopicPartition

from schemas.metrics import NO_METRICS
from schemas.settings import BufferSettings, KafkaSettings
from streams import buffer_owner
from streams.buffer_state import PartitionState
from streams.buffer_store import MemoryPartitionStore
from streams.shadow_buffer import ShadowBuffer, ShadowBufferOwner
from streams.shadow_topics import ShadowTopics
from streams.stage_metrics import StageMetrics
from tests.support.buffer_step import FOUR, HOME, START_MS, chat, context, flush, only_windows, policy, raw
from tests.unit.streams.test_buffer_owner import Committed


class Reading:
    """How far the log was read, in place of the Faust app; `end` is what can be read."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.position = 0

    def has_read(self, place: TopicPartition, offset: int | None) -> bool:
        return self.position >= (self.end if offset is None else offset)


async def no_pace(count: int) -> None:
    assert count >= 0


class Run:
    """One owner of partition 0 of one partition, unless said otherwise."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        end: int,
        begin: int = 0,
        end_offsets: Mapping[int, int] | None = None,
        only_user: str | None = None,
        partition: int = 0,
        partitions: int = 1,
    ) -> None:
        self.committed = Committed()
        self.reading = Reading(end)
        monkeypatch.setattr(buffer_owner, "PartitionTransactions", lambda *_: self.committed)
        self.shadow = ShadowBuffer(
            ShadowTopics("", "b"),
            {partition: begin},
            end_offsets,
            lambda _project, user: only_user in (None, user),
            no_pace,
        )
        self.shadow.app = self.reading  # type: ignore[assignment]
        made = context(policy(), partition=partition, partitions=partitions)
        taking = replace(made, takes=self.shadow.takes)
        store = MemoryPartitionStore()
        self.owner = ShadowBufferOwner(
            self.shadow,
            KafkaSettings(),
            BufferSettings(),
            taking,
            store,
            lambda *_: None,
            lambda _: None,
            StageMetrics(NO_METRICS, "buffer"),
        )
        monkeypatch.setattr(self.owner, "_state", PartitionState(store))

    def windows(self) -> list[list[str]]:
        """The blob ids of each window that was sent."""
        return [
            [unit.blob_id for unit in window.units]
            for transaction in self.committed.transactions
            for window in only_windows(transaction)
        ]

    async def checks(self, count: int = 2, at_ms: int = START_MS) -> None:
        for _ in range(count):
            await self.owner._check(at_ms)


async def test_what_lies_before_the_range_or_behind_it_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, end=10, begin=2, end_offsets={0: 4})
    await run.owner._process([raw(chat(id=f"b{n}"), n) for n in range(6)])
    run.reading.position = 6
    await run.checks()
    assert run.windows() == [["b2", "b3"]]
    assert run.committed.next_offsets[0] == 6


async def test_only_the_users_that_it_is_made_for_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, end=2, only_user="ann", end_offsets={0: 2})
    await run.owner._process([raw(chat(id="b0", user_id="ann"), 0), raw(chat(id="b1", user_id="bo"), 1)])
    run.reading.position = 2
    await run.checks()
    assert run.windows() == [["b0"]]


async def test_nothing_is_forwarded_or_parked_for_the_live_stages_do(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, end=3, partition=HOME, partitions=FOUR)
    await run.owner._process([raw(b"{", 0, partition=HOME), raw(chat(id="b0"), 1, key=b"another", partition=HOME)])
    assert [list(transaction) for transaction in run.committed.transactions] == [[]]
    assert run.committed.next_offsets == [2]


async def test_a_flush_in_the_log_closes_a_window_here_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, end=9)
    await run.owner._process([raw(chat(id="b0"), 0), raw(flush("u1"), 1)])
    assert run.windows() == [["b0"]]


async def test_no_tail_is_closed_before_the_end_of_the_log_was_seen_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, end=5)
    await run.owner._process([raw(chat(id="b0"), 0)])
    long_after_ms = START_MS + 10 * 24 * 3600 * 1000
    run.reading.position = 4
    await run.checks(3, long_after_ms)
    assert run.windows() == []
    run.reading.position = 5
    await run.checks(1, long_after_ms)
    assert run.windows() == []
    await run.checks(1, long_after_ms)
    assert run.windows() == [["b0"]]


async def test_a_young_tail_waits_until_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, end=1)
    await run.owner._process([raw(chat(id="b0"), 0)])
    run.reading.position = 1
    await run.checks(4)
    assert (run.windows(), run.shadow.news({})) == ([], {})
    run.shadow.tails_before_ms = START_MS + 1000
    await run.checks(1)
    assert run.windows() == [["b0"]]
    assert run.shadow.news({}) == {0: START_MS + 1000}
    assert run.shadow.news({0: START_MS + 1000}) == {}
    run.shadow.tails_before_ms += 1
    assert run.shadow.news({0: START_MS + 1000}) == {}


async def test_an_owner_that_lost_its_partition_tells_of_no_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, end=0)
    run.shadow.tails_before_ms = START_MS
    await run.checks()
    assert run.shadow.news({}) == {0: START_MS}
    run.owner.abandon()
    assert run.shadow.news({}) == {}
