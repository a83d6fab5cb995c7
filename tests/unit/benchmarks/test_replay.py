"""What the measurement of replays makes of when records were applied."""

from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.replay import Latency, Pace, growth_of, latency_of, rate_of

BEGIN = datetime(2026, 11, 30, tzinfo=UTC)


def at(second: float) -> datetime:
    return BEGIN + timedelta(seconds=second)


def test_the_rate_is_of_records_that_are_done_while_all_workers_run() -> None:
    # One worker's pace while the others join, then three times that, then a tail that leaves some idle.
    joining = [(at(second), 10) for second in range(-5, 0)]
    running = [(at(second), 30) for second in range(10)]
    tail = [(at(10 + second), 5) for second in range(4)]
    assert rate_of([*joining, *running, *tail], BEGIN) == pytest.approx(30.0)


def test_a_range_that_is_nearly_done_when_all_workers_run_is_no_figure() -> None:
    with pytest.raises(ValueError, match="replay more"):
        rate_of([(at(-2), 50), (at(-1), 45), (at(1), 5)], BEGIN)


def test_growth_is_beside_the_fewest_workers_of_a_shadow() -> None:
    none = Latency(0, None, None)
    rates = (("live", 1, 90.0), ("shadow", 1, 100.0), ("shadow", 3, 250.0))
    paces = [Pace(into, workers, rate, 1.0, none) for into, workers, rate in rates]
    assert growth_of(paces) == {1: 1.0, 3: 2.5}


def test_no_window_has_no_latency() -> None:
    assert latency_of([]) == Latency(0, None, None)
    assert latency_of([0.2, 0.1, 0.4]) == Latency(3, 0.2, 0.4)
