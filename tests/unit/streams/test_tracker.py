"""The contiguous prefix, with gaps, revocations and records read twice."""

import random

from hypothesis import given
from hypothesis import strategies as st

from streams.tracker import PrefixTracker, Ticket

P0 = ("windows", 0)
P1 = ("windows", 1)


def opened(tracker: PrefixTracker, *offsets: int, partition: tuple[str, int] = P0) -> list[Ticket]:
    tickets = [tracker.opened(partition, offset) for offset in offsets]
    return [ticket for ticket in tickets if ticket is not None]


def test_nothing_may_be_committed_past_the_first_open_record() -> None:
    tracker = PrefixTracker()
    _slow, *later = opened(tracker, *range(11))
    for ticket in later:
        tracker.finished(ticket)
    assert tracker.committable() == {}


def test_when_the_first_finishes_everything_finished_behind_it_may_be_committed() -> None:
    tracker = PrefixTracker()
    first, second, third, _open, fifth = opened(tracker, 3, 4, 5, 6, 7)
    for ticket in (fifth, third, second, first):
        tracker.finished(ticket)
    assert tracker.committable() == {P0: 6}


def test_gaps_that_transaction_markers_leave_do_not_hold_a_commit_back() -> None:
    tracker = PrefixTracker()
    for ticket in opened(tracker, 10, 12, 17):
        tracker.finished(ticket)
    assert tracker.committable() == {P0: 18}


def test_partitions_move_on_their_own() -> None:
    tracker = PrefixTracker()
    opened(tracker, 0, 1)
    (other,) = opened(tracker, 0, partition=P1)
    tracker.finished(other)
    assert tracker.committable() == {P1: 1}


def test_what_was_committed_is_not_committed_again() -> None:
    tracker = PrefixTracker()
    first, second = opened(tracker, 0, 1)
    tracker.finished(first)
    tracker.committed(tracker.committable())
    assert tracker.committable() == {}
    tracker.finished(second)
    assert tracker.committable() == {P0: 2}


def test_a_record_that_finishes_after_its_partition_was_dropped_moves_nothing() -> None:
    tracker = PrefixTracker()
    (stale,) = opened(tracker, 5)
    tracker.drop([P0])
    opened(tracker, 5, 6)
    tracker.finished(stale)
    assert tracker.committable() == {}


def test_after_a_drop_the_same_offsets_are_opened_anew() -> None:
    tracker = PrefixTracker()
    opened(tracker, 5, 6)
    tracker.drop([P0])
    (again,) = opened(tracker, 5)
    tracker.finished(again)
    assert tracker.committable() == {P0: 6}


def test_a_record_read_twice_is_opened_once() -> None:
    tracker = PrefixTracker()
    assert len(opened(tracker, 5, 6, 5, 6)) == 2


@given(
    gaps=st.lists(st.integers(min_value=1, max_value=4), min_size=1, max_size=30),
    order=st.randoms(use_true_random=False),
)
def test_what_may_be_committed_is_always_the_offset_behind_the_finished_prefix(
    gaps: list[int], order: random.Random
) -> None:
    offsets = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    tracker = PrefixTracker()
    tickets = opened(tracker, *offsets)
    shuffled = list(tickets)
    order.shuffle(shuffled)
    done: set[int] = set()
    for ticket in shuffled:
        tracker.finished(ticket)
        done.add(ticket.offset)
        prefix = [o for i, o in enumerate(offsets) if all(before in done for before in offsets[: i + 1])]
        assert tracker.committable() == ({P0: prefix[-1] + 1} if prefix else {})
