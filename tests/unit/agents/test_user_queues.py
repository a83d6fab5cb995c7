"""One user in order, several users side by side, and bounds that make the reader wait."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agents.user_queues import BatchLimits, Delivery, QueueLimits, UserQueues, batch_size
from schemas.windows import Window, WindowCommand
from streams.tracker import PrefixTracker
from tests.support.extracting import chat_window, command, unit, window, window_position

BATCH = BatchLimits(tokens=1000, silence_ms=1000)
LIMITS = QueueLimits(
    records=100,
    records_per_user=50,
    bytes=1 << 20,
    bytes_per_user=1 << 20,
    batch=BatchLimits(tokens=10, silence_ms=1000),
    surplus_bytes=0,
)


class Bench:
    """Queues whose batches finish when the test says so."""

    def __init__(self, limits: QueueLimits = LIMITS) -> None:
        self.tracker = PrefixTracker()
        self.begun: list[list[int]] = []
        self.finished: list[int] = []
        self.full = asyncio.Event()
        self.errors: list[BaseException] = []
        self.doors: dict[int, asyncio.Future[None]] = {}
        self.queues = UserQueues(self._settle, self._finished, self.errors.append, limits)

    def add(self, offset: int, record: Window | WindowCommand, partition: int = 0) -> None:
        ticket = self.tracker.opened(("windows", partition), offset)
        assert ticket is not None
        value = record.model_dump_json().encode()
        self.queues.add(Delivery(ticket, record, window_position(offset, partition), len(value)), value)

    async def let_go(self, offset: int, error: BaseException | None = None) -> None:
        door = self.doors[offset]
        if error is None:
            door.set_result(None)
        else:
            door.set_exception(error)
        await turns()

    async def _settle(self, batch: Sequence[Delivery], full: asyncio.Event) -> bool:
        self.full = full
        offsets = [delivery.ticket.offset for delivery in batch]
        self.begun.append(offsets)
        door = self.doors[offsets[0]] = asyncio.get_running_loop().create_future()
        await door
        return True

    def _finished(self, batch: Sequence[Delivery]) -> None:
        self.finished += [delivery.ticket.offset for delivery in batch]


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_windows_of_one_user_run_one_after_the_other() -> None:
    bench = Bench()
    bench.add(0, chat_window("a"))
    bench.add(1, chat_window("b"))
    await turns()
    assert bench.begun == [[0]]
    await bench.let_go(0)
    assert bench.begun == [[0], [1]]


async def test_windows_of_different_users_run_side_by_side_and_finish_in_any_order() -> None:
    bench = Bench()
    bench.add(0, chat_window("a", user_id="slow"))
    bench.add(1, chat_window("b", user_id="fast"))
    await turns()
    await bench.let_go(1)
    assert bench.begun == [[0], [1]]
    assert bench.finished == [1]


async def test_windows_that_wait_behind_a_slow_one_are_extracted_together_up_to_the_limit() -> None:
    bench = Bench(replace(LIMITS, batch=BatchLimits(tokens=30, silence_ms=1000)))
    for offset in range(6):
        bench.add(offset, chat_window(f"blob{offset}"))
    await turns()
    await bench.let_go(0)
    await bench.let_go(3)
    assert bench.begun == [[0, 1, 2], [3, 4, 5]]


def test_a_command_is_a_barrier() -> None:
    first, second, third = chat_window("a"), command(), chat_window("b")
    assert batch_size([first, second, third], BATCH) == 1
    assert batch_size([second, third], BATCH) == 1


def test_windows_before_and_behind_a_long_silence_are_not_extracted_together() -> None:
    near, far = chat_window("b", offset=1000), chat_window("c", offset=2001)
    assert batch_size([chat_window("a"), near, chat_window("d", offset=2000)], BATCH) == 3
    assert batch_size([chat_window("a"), near, far], BATCH) == 2
    # By the last that was said, and what is late was said before.
    long = window(unit("a"), unit("b", offset=5000), unit("c", offset=100))
    assert batch_size([long, chat_window("d", offset=6000), chat_window("e", offset=0)], BATCH) == 3


def test_windows_of_another_blob_type_are_not_extracted_together() -> None:
    assert batch_size([chat_window("a"), window(unit("d", "text", blob_type="doc"))], BATCH) == 1


def test_a_window_that_came_twice_is_not_extracted_with_itself() -> None:
    assert batch_size([chat_window("a"), chat_window("b"), chat_window("a")], BATCH) == 2


def test_a_window_above_the_limit_goes_alone() -> None:
    assert batch_size([window(unit("a", "1", tokens=5000)), chat_window("b")], BATCH) == 1


async def test_the_reader_goes_on_to_others_when_a_user_has_too_many_windows() -> None:
    bench = Bench(replace(LIMITS, records_per_user=2, surplus_bytes=100_000))
    for offset in range(5):
        await bench.queues.room_for(("default", "u1"), 100)
        bench.add(offset, chat_window(f"blob{offset}"))
    await bench.queues.room_for(("default", "other"), 100)
    bench.add(5, chat_window("b", user_id="other"))
    await turns()
    assert bench.begun == [[0], [5]]
    for offset in range(5):
        await bench.let_go(offset)
    assert bench.begun == [[0], [5], [1], [2], [3], [4]]
    assert bench.finished == [0, 1, 2, 3, 4]
    assert bench.queues.size == 1


async def test_a_lost_partition_takes_its_surplus_along() -> None:
    bench = Bench(replace(LIMITS, records_per_user=1, surplus_bytes=100_000))
    for offset in range(2):
        bench.add(offset, chat_window(f"blob{offset}"))
    bench.add(0, chat_window("kept"), partition=1)
    await turns()
    bench.queues.drop([("windows", 0)])
    assert bench.queues.size == 2
    await bench.let_go(0)
    assert bench.begun == [[0], [0]]
    await bench.let_go(0)
    assert bench.queues.size == 0


async def test_the_reader_waits_when_a_user_has_too_many_windows_and_the_surplus_too_many_bytes() -> None:
    bench = Bench(replace(LIMITS, records_per_user=2))
    bench.add(0, chat_window("a"))
    bench.add(1, chat_window("b"))
    reader = asyncio.create_task(bench.queues.room_for(("default", "u1"), 100))
    await turns()
    assert not reader.done()
    assert bench.full.is_set()
    await bench.let_go(0)
    assert reader.done()
    assert not bench.full.is_set()


async def test_the_reader_waits_when_all_users_together_have_too_many_windows() -> None:
    bench = Bench(replace(LIMITS, records=2, records_per_user=2))
    bench.add(0, chat_window("a", user_id="a"))
    bench.add(1, chat_window("b", user_id="b"))
    reader = asyncio.create_task(bench.queues.room_for(("default", "c"), 100))
    await turns()
    assert not reader.done()
    await bench.let_go(1)
    assert reader.done()


async def test_the_reader_waits_when_all_users_together_have_too_many_bytes() -> None:
    bench = Bench(replace(LIMITS, bytes=2000))
    bench.add(0, chat_window("a" * 1000, user_id="a"))
    reader = asyncio.create_task(bench.queues.room_for(("default", "b"), 1000))
    await turns()
    assert not reader.done()
    await bench.let_go(0)
    assert reader.done()


async def test_a_window_that_is_larger_than_all_may_be_is_read_alone() -> None:
    bench = Bench(replace(LIMITS, bytes=10))
    await asyncio.wait_for(bench.queues.room_for(("default", "a"), 1000), 1)
    bench.add(0, chat_window("a", user_id="a"))
    reader = asyncio.create_task(bench.queues.room_for(("default", "b"), 1))
    await turns()
    assert not reader.done()
    await bench.let_go(0)
    assert reader.done()


async def test_what_a_user_has_above_its_share_of_bytes_takes_no_room_from_others_and_runs_in_order() -> None:
    bench = Bench(replace(LIMITS, bytes=10_000, bytes_per_user=10, surplus_bytes=100_000))
    for offset in range(3):
        await asyncio.wait_for(bench.queues.room_for(("default", "u1"), 1000), 1)
        bench.add(offset, chat_window("a" * 1900 + str(offset)))
    await asyncio.wait_for(bench.queues.room_for(("default", "other"), 200), 1)
    await turns()
    for offset in range(3):
        assert bench.begun[-1] == [offset]
        await bench.let_go(offset)
    assert bench.finished == [0, 1, 2]
    # All of it was counted down again.
    last = chat_window("last")
    bench.add(3, last)
    left = 10_000 - len(last.model_dump_json())
    await asyncio.wait_for(bench.queues.room_for(("default", "other"), left), 1)


async def test_a_lost_partition_takes_its_waiting_windows_along_and_no_others() -> None:
    bench = Bench()
    bench.add(0, chat_window("a"))
    bench.add(1, chat_window("b"))
    bench.add(2, chat_window("c", user_id="other"), partition=1)
    bench.add(3, chat_window("d", user_id="other"), partition=1)
    await turns()
    bench.queues.drop([("windows", 0)])
    await bench.let_go(0)
    await bench.let_go(2)
    assert bench.begun == [[0], [2], [3]]
    await bench.let_go(3)
    assert bench.queues.size == 0


async def test_an_unexpected_error_is_reported_and_nothing_later_of_the_user_is_begun() -> None:
    bench = Bench()
    bench.add(0, chat_window("a"))
    bench.add(1, chat_window("b"))
    await turns()
    await bench.let_go(0, ZeroDivisionError())
    assert [type(error) for error in bench.errors] == [ZeroDivisionError]
    assert bench.begun == [[0]]
    assert bench.finished == []


async def test_stopping_lets_what_runs_finish_and_begins_nothing_more() -> None:
    bench = Bench()
    bench.add(0, chat_window("a"))
    bench.add(1, chat_window("b"))
    await turns()
    stopping = asyncio.create_task(bench.queues.drain(60.0))
    await turns()
    await bench.let_go(0)
    assert await stopping == 0
    assert bench.begun == [[0]]
    assert bench.finished == [0]


async def test_stopping_cancels_what_takes_too_long_without_finishing_it() -> None:
    bench = Bench()
    bench.add(0, chat_window("a"))
    await turns()
    assert await bench.queues.drain(0.0) == 1
    assert bench.finished == []
    assert bench.errors == []


@pytest.mark.parametrize("records", [[], [chat_window("a")]])
def test_a_batch_never_exceeds_what_waits(records: list[Window | WindowCommand]) -> None:
    assert batch_size(records, BATCH) == len(records)
