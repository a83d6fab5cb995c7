"""How fast a re-embedding goes, and when it counts as complete."""

from agents.reembedder import MAX_TAIL, Pace, tail_of


def test_a_rate_spreads_texts_over_time_whoever_sends_them() -> None:
    pace = Pace(rate=32.0)
    assert pace.delay_s(64, now_s=100.0) == 2.0
    assert pace.delay_s(64, now_s=100.0) == 4.0
    assert pace.delay_s(64, now_s=103.0) == 3.0


def test_time_that_was_not_used_is_not_made_up_for() -> None:
    pace = Pace(rate=32.0)
    pace.delay_s(64, now_s=0.0)
    assert pace.delay_s(64, now_s=1000.0) == 2.0


def test_without_a_rate_nothing_waits() -> None:
    assert Pace(rate=None).delay_s(10_000, now_s=5.0) == 0.0


def test_of_few_texts_none_may_be_missing_and_of_many_a_thousandth_up_to_a_limit() -> None:
    assert [tail_of(texts) for texts in (0, 999, 1000, 50_000, 10**9)] == [0, 0, 1, 50, MAX_TAIL]
