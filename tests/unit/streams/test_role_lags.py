"""How far a role is behind: what was not fetched, and what was fetched and is not done."""

import asyncio
from collections.abc import Mapping
from typing import cast

import pytest
from aiokafka import TopicPartition

from agents.extraction import register
from schemas.settings import BufferSettings, KafkaSettings
from streams import buffer_owner
from streams.buffer_depth import BufferDepth
from streams.buffer_owner import BufferOwner
from streams.buffer_state import PartitionState
from streams.buffer_store import MemoryPartitionStore
from streams.faust_app import FaustApp, new_app
from streams.liveness import Look
from streams.role_lags import LagGauges, RoleLag
from streams.windowing import Head
from tests.support.buffer_step import chat, context, raw
from tests.support.recording_metrics import RecordingMetrics
from tests.unit.agents.test_extraction_agent import new_deps

PLACE = TopicPartition("chat-messages", 3)


class KnownApp:
    """Has fetched partition 3 up to a position, and done some of it."""

    def __init__(self, position: int, last_fetched: int | None, behind: int) -> None:
        self.is_settled = True
        self.assignments = 2
        self._fetched = (position, last_fetched)
        self._behind = behind

    def fetched(self) -> Mapping[TopicPartition, tuple[int, int | None]]:
        return {PLACE: self._fetched}

    def behind(self, place: TopicPartition, last_fetched: int | None) -> int:
        assert (place, last_fetched) == (PLACE, self._fetched[1])
        return self._behind


class KnownLag(RoleLag):
    """Where the end of the partition is known, or the broker is away."""

    def __init__(self, app: KnownApp, end: int | None) -> None:
        super().__init__(KafkaSettings(), cast(FaustApp, app))
        self._known = None if end is None else {PLACE: end}

    async def _ask(self) -> tuple[()]:
        self._ends = self._known
        return ()


async def no_wait() -> str | None:
    return None


async def look(lag: RoleLag) -> Look:
    return await lag.look(lambda: 7, no_wait)


@pytest.mark.parametrize(
    ("app", "end", "lag"),
    [
        pytest.param(KnownApp(10, 9, 0), 10, 0, id="all is done"),
        pytest.param(KnownApp(10, 9, 0), 9, 0, id="the end was asked for earlier"),
        pytest.param(KnownApp(10, 9, 4), 30, 24, id="twenty to fetch, four to do"),
    ],
)
async def test_what_is_not_fetched_and_what_is_not_done_are_behind(app: KnownApp, end: int, lag: int) -> None:
    assert await look(KnownLag(app, end)) == Look(lag, 7)


async def test_without_a_broker_nobody_knows_what_is_behind() -> None:
    assert await look(KnownLag(KnownApp(10, 9, 4), None)) == Look(None, 7)


async def test_a_role_that_gets_no_partitions_has_work() -> None:
    app = KnownApp(10, 9, 0)
    app.is_settled = False
    assert await look(KnownLag(app, 10)) == Look(1, 7)


async def test_lag_partitions_and_rebalances_are_shown_by_role() -> None:
    metrics = RecordingMetrics()
    gauges = LagGauges(metrics)
    app = KnownApp(10, 9, 4)
    gauges.watch("buffer", cast(FaustApp, app), KnownLag(app, 30))
    await gauges.show()
    await gauges.show()
    assert metrics.gauges["memostream_consumer_lag_records"] == {("buffer", "chat-messages", "3"): 24}
    assert metrics.gauges["memostream_partitions"] == {("buffer",): 1}
    assert metrics.counted == {("memostream_rebalances_total", ("buffer",)): 2}


async def test_an_app_that_was_never_started_has_fetched_nothing() -> None:
    app = new_app("group", KafkaSettings(), 1)
    assert app.fetched() == {}
    assert app.behind(PLACE, None) == 0


async def test_windows_that_are_not_finished_are_behind() -> None:
    app = new_app("group", KafkaSettings(), 1)
    intake = register(app, "extraction-windows", 1, new_deps())
    place = TopicPartition("extraction-windows", 0)
    tickets = [intake._tracker.opened(("extraction-windows", 0), offset) for offset in (5, 6, 8)]
    assert app.behind(place, 8) == 3
    for ticket in (tickets[0], tickets[2]):
        assert ticket is not None
        intake._tracker.finished(ticket)
    # Of what stands behind the one that is open nobody can say that it is committed.
    assert app.behind(place, 8) == 3
    assert tickets[1] is not None
    intake._tracker.finished(tickets[1])
    assert app.behind(place, 8) == 0


async def test_a_batch_whose_commit_hangs_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = asyncio.Event()

    class Hanging:
        async def commit(self, *_: object) -> int | None:
            await answered.wait()
            return 1

    monkeypatch.setattr(buffer_owner, "PartitionTransactions", lambda *_: Hanging())
    store = MemoryPartitionStore()
    owner = BufferOwner(KafkaSettings(), BufferSettings(), context(), store, lambda *_: None, lambda _: None)
    monkeypatch.setattr(owner, "_state", PartitionState(store))
    assert owner.behind(None) == 0
    committing = asyncio.create_task(owner._process([raw(chat(id="b1"), 4)]))
    await asyncio.sleep(0)
    assert owner.behind(4) == 1
    answered.set()
    await committing
    assert owner.behind(4) == 0
    assert owner.behind(11) == 7


async def test_the_depth_of_the_buffer_is_the_sum_of_its_heads() -> None:
    metrics = RecordingMetrics()
    heads = [
        Head(0, 3, 40, 900, 0, 0, 50_000, 60_000, "b3"),
        Head(7, 8, 2, 100, 0, 0, 30_000, 30_000, "b8"),
    ]
    await BufferDepth(lambda: heads, metrics, lambda: 90.0).show()
    shown = {name.removeprefix("memostream_buffer_"): values[()] for name, values in metrics.gauges.items()}
    assert shown == {"blobs": 4, "tokens": 42, "bytes": 1000, "users": 2, "oldest_age_seconds": 60}


async def test_an_empty_buffer_has_no_age() -> None:
    metrics = RecordingMetrics()
    await BufferDepth(list, metrics).show()
    assert metrics.gauges["memostream_buffer_oldest_age_seconds"] == {(): 0}
