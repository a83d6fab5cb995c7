"""When a role stands still: with work before it, for too long, and without anybody whom it rightly waits for."""

import pytest

from streams.liveness import Look, ProgressWatch, Standing, is_stalled, standing_after
from tests.support.recording_metrics import RecordingMetrics

AFTER_S = 60.0
# Of the first look, at second 0.
BEFORE = Standing(moved=7, since_s=0.0)


@pytest.mark.parametrize(
    ("look", "since_s"),
    [
        pytest.param(Look(5, 7), 0.0, id="work and no progress: it has stood still since before"),
        pytest.param(Look(5, 8), 30.0, id="progress"),
        pytest.param(Look(9, 8), 30.0, id="progress, though more came than was done"),
        pytest.param(Look(0, 7), 30.0, id="nothing to do"),
        pytest.param(Look(None, 7), 30.0, id="the broker is away, so nobody knows what there is to do"),
        pytest.param(Look(5, 7, "a model"), 30.0, id="it waits for a model"),
        pytest.param(Look(5, 3), 30.0, id="it has begun anew, with another count"),
    ],
)
def test_a_role_has_stood_still_since_its_last_progress_or_its_last_excuse(look: Look, since_s: float) -> None:
    assert standing_after(BEFORE, look, 30.0).since_s == since_s


def test_the_first_look_is_when_it_begins() -> None:
    assert standing_after(None, Look(5, 7), 30.0) == Standing(7, 30.0)


@pytest.mark.parametrize(("now_s", "stalled"), [(59.0, False), (60.0, False), (60.1, True)])
def test_only_longer_than_allowed_is_too_long(now_s: float, stalled: bool) -> None:
    assert is_stalled(BEFORE, now_s, AFTER_S) is stalled


class Role:
    """A role that a test moves, and the clock of its watch."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.seen = Look(1, 0)
        self.metrics = RecordingMetrics()
        self.watch = ProgressWatch(self.metrics, AFTER_S, lambda: self.now_s)
        self.watch.watch("buffer", self.look)

    async def look(self) -> Look:
        return self.seen

    async def stalled_at(self, now_s: float) -> bool:
        self.now_s = now_s
        await self.watch.look()
        await self.watch.show()
        shown = self.metrics.gauges["memostream_stalled"] == {("buffer",): 1.0}
        assert shown == ("buffer" in self.watch.stalled)
        return shown


async def test_a_role_that_moves_again_is_alive_again() -> None:
    role = Role()
    assert not await role.stalled_at(0.0)
    assert not await role.stalled_at(60.0)
    assert await role.stalled_at(61.0)
    assert role.watch.stalled == {"buffer": "it has work and has made no progress for more than 60 s"}
    role.seen = Look(1, 1)
    assert not await role.stalled_at(62.0)
    assert not await role.stalled_at(122.0)
    assert await role.stalled_at(123.0)


async def test_an_hour_of_waiting_for_a_model_is_not_held_against_a_role() -> None:
    role = Role()
    role.seen = Look(100, 0, "a model")
    for minute in range(60):
        assert not await role.stalled_at(60.0 * minute)
    role.seen = Look(100, 0)
    assert not await role.stalled_at(3600.0)
    assert await role.stalled_at(3700.0)
