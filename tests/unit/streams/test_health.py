"""What probes are told: ready only when every part finds nothing wrong, live until one has failed."""

from collections.abc import Sequence
from typing import Any, cast

from storage.probing import KEEP_S, Remembered, watch_database
from streams.health import WorkerHealth, nothing_wrong, watch_problems, watch_state


async def test_a_role_is_not_ready_before_it_is_watched() -> None:
    health = WorkerHealth(["buffer", "relay"])
    health.watch("relay", nothing_wrong)
    report = await health.ready()
    assert (report.is_well, report.reasons) == (False, {"buffer": ["it is starting"]})
    assert health.live().is_well


async def test_every_reason_is_named_by_its_part() -> None:
    problems = {"endpoint": "the key is refused"}
    settled = False
    health = WorkerHealth(["extraction"])
    health.watch("extraction", watch_problems(lambda: problems, watch_state(lambda: settled, "no partitions yet")))
    assert (await health.ready()).reasons == {"extraction": ["no partitions yet", "the key is refused"]}
    settled = True
    problems.clear()
    assert (await health.ready()).is_well


async def test_a_failure_ends_life_and_tells_its_kind_only() -> None:
    health = WorkerHealth([])
    health.fail(RuntimeError("somebody's words"))
    health.fail(ValueError("the second is not the cause"))
    assert health.live().reasons == {"worker": ["RuntimeError"]}
    assert (await health.ready()).reasons == {"worker": ["it ends after an unexpected RuntimeError"]}


async def test_a_worker_that_stops_is_alive_and_not_ready() -> None:
    health = WorkerHealth([])
    health.stop()
    assert health.live().is_well
    assert (await health.ready()).reasons == {"worker": ["it is stopping"]}


class AwayEngine:
    """An engine whose server is away."""

    def connect(self) -> "AwayEngine":
        return self

    async def __aenter__(self) -> None:
        raise ConnectionRefusedError("postgresql://memo:secret@db")

    async def __aexit__(self, *_: object) -> None: ...


async def test_a_database_that_is_away_is_named_by_the_kind_of_the_error_only() -> None:
    reasons = await watch_database(cast(Any, AwayEngine()))()
    assert reasons == ("Postgres does not answer (ConnectionRefusedError)",)


async def test_a_part_is_asked_again_only_after_a_while() -> None:
    asked_at: list[float] = []
    now = [0.0]

    async def ask() -> Sequence[str]:
        asked_at.append(now[0])
        return ("away",)

    part = Remembered(ask, lambda: now[0])
    for moment in (0.0, KEEP_S - 0.1, KEEP_S):
        now[0] = moment
        assert await part.reasons() == ("away",)
    assert asked_at == [0.0, KEEP_S]
