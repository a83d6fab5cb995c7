"""What the measurement of killed and restarted workers makes of what it saw."""

from collections import Counter
from itertools import islice

import orjson
import pytest

from benchmarks.steady_load import USERS, WINDOW_RECORDS, Seen, resumed_after_s, staggered


def test_work_went_on_at_the_end_of_the_longest_pause_since_the_kill() -> None:
    # A commit from before was on its way, and one of the seconds before counts for nothing.
    assert resumed_after_s([1.0, 9.9, 10.1, 21.0, 21.5, 24.0], since_s=10.0) == pytest.approx(11.0)


def test_work_that_never_went_on_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing came any more"):
        resumed_after_s([1.0, 9.9], since_s=10.0)


def test_a_record_is_committed_when_the_offset_behind_it_is() -> None:
    seen = Seen(sent_s={(0, 5): 1.0, (0, 6): 1.5, (0, 7): 2.0, (1, 5): 1.0})
    for next_offset, now_s in ((5, 1.2), (7, 3.0), (7, 3.5), (9, 4.0)):
        seen.committed(("group", 0), next_offset, now_s)
    assert seen.moves["group", 0] == [1.2, 3.0, 4.0]
    committed_s = seen.committed_s("group")
    assert committed_s == {(0, 5): 3.0, (0, 6): 3.0, (0, 7): 4.0}
    somebody_elses = {(2, 5): 2.0}
    assert seen.delays_s(committed_s | somebody_elses, begin_s=1.5, end_s=2.5) == [1.5, 2.0]


def test_users_are_at_all_places_of_their_windows_once_all_have_begun() -> None:
    begun = sum(range(WINDOW_RECORDS)) * USERS // WINDOW_RECORDS
    records = list(islice(staggered("run-"), begun + USERS))
    blobs = [orjson.loads(value) for _, value in records]
    assert all(key.decode() == blob["user_id"] for (key, _), blob in zip(records, blobs, strict=True))
    assert len({blob["id"] for blob in blobs}) == len(blobs)
    places = Counter(count % WINDOW_RECORDS for count in Counter(blob["user_id"] for blob in blobs).values())
    assert len(places) > WINDOW_RECORDS / 2
