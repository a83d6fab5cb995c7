"""What `make bench-memory` makes of its samples, and the load that it sends."""

from itertools import islice, pairwise

import orjson
import pytest

from benchmarks.memory import RECORDS_OF_A_USER, Run, Sample, document_of, records_of, slope_mib_per_min


def samples(*rss_mib: float) -> list[Sample]:
    """One a minute."""
    return [Sample(60.0 * minute, mib) for minute, mib in enumerate(rss_mib)]


def test_the_slope_is_that_of_the_last_two_thirds() -> None:
    assert slope_mib_per_min(samples(0, 100, 200, 202, 204, 206, 208, 210)) == pytest.approx(2.0, abs=0.01)
    assert slope_mib_per_min(samples(0, 100, 150, 150, 150, 150, 150)) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("last", "is_flat"), [([200.0] * 7, True), ([200.0 + 2 * minute for minute in range(7)], False)]
)
def test_memory_that_grows_is_said_to_grow(last: list[float], is_flat: bool) -> None:
    run = Run(records=2000, users=34, seconds=10.0, cpu_s=3.0, llm_calls=10, decided=2000, samples=samples(*last))
    document = document_of(run, 7.0)
    assert document["is_flat"] is is_flat
    assert (document["cpu_s_per_1000_records"], document["llm_calls_per_1000_records"]) == (1.5, 5.0)


def test_each_user_sends_for_a_while_and_gives_place_to_another() -> None:
    users = 3
    sent = list(islice(records_of(users), users * RECORDS_OF_A_USER * 4))
    by_user: dict[bytes, list[int]] = {}
    for number, (key, value) in enumerate(sent):
        assert orjson.loads(value)["user_id"].encode() == key
        by_user.setdefault(key, []).append(number)
    assert max(len(numbers) for numbers in by_user.values()) == RECORDS_OF_A_USER
    for place in range(users):
        of_place = [key for key in by_user if key.startswith(b"user-%d-" % place)]
        ends = [(by_user[key][0], by_user[key][-1]) for key in of_place]
        assert all(last < first for (_, last), (first, _) in pairwise(ends))
