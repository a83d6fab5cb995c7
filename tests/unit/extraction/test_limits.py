"""An endpoint's limits: no minute sees more than its budget, first come is first served, and a pause is for all."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.endpoint.limits import MAX_PAUSE_S, Bucket, Gate, Limits
from schemas.errors import RetryLater


class Time:
    """A clock that only sleeping moves; `waiting` are those asleep, in the order of their waking."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._wakes: list[tuple[float, asyncio.Event]] = []

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        wake = (self.now_s + seconds, asyncio.Event())
        self._wakes.append(wake)
        try:
            await wake[1].wait()
        finally:
            self._wakes.remove(wake)

    async def pass_until(self, now_s: float) -> None:
        """Move on, waking sleepers at their time, until nobody sleeps up to then."""
        await settled()
        while due := [wake for wake in self._wakes if wake[0] <= now_s]:
            at_s, event = min(due, key=lambda wake: wake[0])
            self.now_s = max(self.now_s, at_s)
            event.set()
            await settled()
        self.now_s = max(self.now_s, now_s)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Calls:
    """Calls through a gate; `begun` are their names in the order in which they were let through."""

    def __init__(self, limits: Limits) -> None:
        self.time = Time()
        self.gate = Gate(limits, self.time.monotonic, self.time.sleep)
        self.begun: list[tuple[str, float]] = []
        self.end = asyncio.Event()

    async def call(self, name: str, tokens: int = 0, counted: int | None = None, *, stay: bool = False) -> None:
        async with self.gate.passed(tokens) as charge:
            self.begun.append((name, round(self.time.now_s, 3)))
            if counted is not None:
                charge.tokens = counted
            if stay:
                await self.end.wait()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.begun]


@given(
    per_minute=st.integers(1, 500),
    amounts=st.lists(st.integers(1, 60), min_size=1, max_size=60),
    pauses=st.lists(st.floats(0, 90), min_size=60, max_size=60),
)
def test_no_minute_sees_more_than_the_budget_and_one_call_beyond(
    per_minute: int, amounts: list[int], pauses: list[float]
) -> None:
    bucket, now_s = Bucket.full(per_minute, 0.0), 0.0
    taken: list[tuple[float, int]] = []
    for amount, pause in zip(amounts, pauses, strict=False):
        now_s += pause + bucket.wait_s(amount, now_s + pause)
        bucket = bucket.take(amount, now_s)
        taken.append((now_s, amount))
    for begin, _ in taken:
        inside = [amount for at_s, amount in taken if begin <= at_s < begin + 60.0]
        assert sum(inside) - max(inside) <= per_minute


@pytest.mark.parametrize("per_minute", [1, 3, 9, 10, 60, 500])
def test_a_minute_sees_no_more_requests_than_allowed_and_a_long_run_nine_tenths_of_them(per_minute: int) -> None:
    bucket, now_s = Bucket.full(per_minute, 0.0), 0.0
    times: list[float] = []
    while now_s < 600.0:
        now_s += bucket.wait_s(1, now_s)
        bucket = bucket.take(1, now_s)
        times.append(now_s)
    assert max(sum(begin <= at_s < begin + 60.0 for at_s in times) for begin in times) <= per_minute
    assert len(times) >= math.floor(0.9 * per_minute * 10)


def test_what_is_given_back_can_be_taken_again() -> None:
    bucket = Bucket.full(600, 0.0).take(60, 0.0)
    assert bucket.wait_s(60, 0.0) > 0
    assert bucket.take(-60, 0.0).wait_s(60, 0.0) == 0


def test_what_is_larger_than_the_bucket_is_let_through_and_owed() -> None:
    bucket = Bucket.full(100, 0.0)
    assert bucket.wait_s(1000, 0.0) == 0
    assert bucket.take(1000, 0.0).wait_s(1, 0.0) == pytest.approx(991 / 1.5)


async def test_without_limits_nobody_waits() -> None:
    calls = Calls(Limits())
    async with asyncio.timeout(10):
        await asyncio.gather(*(calls.call(str(number), 10**6) for number in range(50)))
    assert len(calls.begun) == 50


async def test_so_many_calls_are_open_at_a_time_in_the_order_in_which_they_came() -> None:
    calls = Calls(Limits(concurrency=2))
    tasks = [asyncio.create_task(calls.call(name, stay=True)) for name in "abcd"]
    await settled()
    assert calls.names == ["a", "b"]
    calls.end.set()
    await asyncio.gather(*tasks)
    assert calls.names == ["a", "b", "c", "d"]


async def test_requests_over_the_limit_come_evenly() -> None:
    calls = Calls(Limits(requests_per_minute=10))
    tasks = [asyncio.create_task(calls.call(name)) for name in "abc"]
    await calls.time.pass_until(60.0)
    await asyncio.gather(*tasks)
    assert calls.begun == [("a", 0.0), ("b", 6.667), ("c", 13.333)]


async def test_a_call_that_cost_more_than_estimated_is_paid_for_by_the_next_ones() -> None:
    calls = Calls(Limits(tokens_per_minute=600))
    await calls.call("a", tokens=10, counted=150)
    task = asyncio.create_task(calls.call("b", tokens=60))
    await calls.time.pass_until(60.0)
    await task
    name, begun_s = calls.begun[1]
    assert name == "b"
    assert begun_s == pytest.approx(150 / 9, abs=0.001)


async def test_who_is_cancelled_while_waiting_leaves_no_place_taken() -> None:
    calls = Calls(Limits(concurrency=1, requests_per_minute=10))
    first = asyncio.create_task(calls.call("a"))
    waiting = asyncio.create_task(calls.call("b"))
    behind = asyncio.create_task(calls.call("c"))
    await settled()
    waiting.cancel()
    await calls.time.pass_until(60.0)
    await asyncio.gather(first, behind)
    assert calls.begun == [("a", 0.0), ("c", 6.667)]


async def test_a_short_pause_is_waited_by_everybody() -> None:
    calls = Calls(Limits())
    calls.gate.pause(3.0)
    calls.gate.pause(1.0)
    tasks = [asyncio.create_task(calls.call(name)) for name in "ab"]
    await calls.time.pass_until(10.0)
    await asyncio.gather(*tasks)
    assert calls.begun == [("a", 3.0), ("b", 3.0)]


async def test_a_long_pause_hands_every_call_back_with_what_is_left_of_it() -> None:
    calls = Calls(Limits(requests_per_minute=1))
    await calls.call("a")
    waiting = asyncio.create_task(calls.call("b"))
    await settled()
    calls.gate.pause(MAX_PAUSE_S + 100.0)
    await calls.time.pass_until(70.0)
    for call in (waiting, asyncio.create_task(calls.call("c"))):
        with pytest.raises(RetryLater) as caught:
            await call
        assert caught.value.delay_s == pytest.approx(MAX_PAUSE_S + 30.0, abs=5.0)
    assert calls.names == ["a"]


async def test_a_failing_call_leaves_its_place() -> None:
    calls = Calls(Limits(concurrency=1))
    with pytest.raises(ZeroDivisionError):
        async with calls.gate.passed(1):
            raise ZeroDivisionError
    async with asyncio.timeout(10):
        await calls.call("a")
    assert calls.names == ["a"]
