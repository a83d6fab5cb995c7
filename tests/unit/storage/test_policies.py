"""The policies of projects: parsed once, noticed when they change, and never the reason that a window waits."""

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from schemas.errors import RetryLater
from schemas.health import Health
from schemas.policies import policy_of
from schemas.settings import Settings
from storage.policies import PolicyBook

KEEP_S: Final = 2.0
STRICT: Final = "profile_strict_mode: true"
# As an older version might have taken it.
BROKEN: Final = "additional_user_profiles: [{topic: a}]"


class Bench:
    """A book over texts that the test changes, on a clock of the test's."""

    def __init__(self, texts: dict[str, str], max_projects: int = 10) -> None:
        self.texts = texts
        self.reads: list[str] = []
        self.time_s = 0.0
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.health = Health()
        self.book = PolicyBook(
            Settings(),
            self._read,
            self.health,
            monotonic=lambda: self.time_s,
            keep_s=KEEP_S,
            max_projects=max_projects,
        )

    async def _read(self, project_id: str) -> str | None:
        self.reads.append(project_id)
        text = self.texts.get(project_id)
        if self.before_answer is not None:
            await self.before_answer()
        return text

    async def is_strict(self, project_id: str) -> bool:
        return (await self.book.policy_of(project_id)).strict


async def test_each_project_has_its_own_policy_and_one_without_has_the_servers() -> None:
    bench = Bench({"a": STRICT})
    assert (await bench.is_strict("a"), await bench.is_strict("b")) == (True, False)
    assert await bench.book.policy_of("b") == policy_of(Settings())


async def test_a_policy_is_looked_up_once_in_a_while_and_not_once_a_window() -> None:
    bench = Bench({"a": STRICT})
    for bench.time_s in (0.0, 0.5, KEEP_S - 0.1):
        assert await bench.is_strict("a")
    assert bench.reads == ["a"]


async def test_a_text_that_has_not_changed_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench({"a": STRICT})
    first = await bench.book.policy_of("a")
    monkeypatch.setattr("storage.policies.parse_project_config", None)
    bench.time_s = KEEP_S
    assert await bench.book.policy_of("a") is first
    assert len(bench.reads) == 2


async def test_a_change_and_a_removal_are_noticed_when_the_time_is_over() -> None:
    bench = Bench({})
    assert not await bench.is_strict("a")
    bench.texts["a"] = STRICT
    assert not await bench.is_strict("a")
    bench.time_s = KEEP_S
    assert await bench.is_strict("a")
    del bench.texts["a"]
    bench.time_s = 2 * KEEP_S
    assert not await bench.is_strict("a")


async def test_what_no_longer_holds_is_not_followed_and_health_says_so_until_it_is_set_anew() -> None:
    bench = Bench({"a": BROKEN})
    assert await bench.book.policy_of("a") == policy_of(Settings())
    (problem,) = bench.health.problems.values()
    assert "project a: its configuration is not followed" in problem
    assert "additional_user_profiles, topic 1, sub_topics: is missing" in problem
    bench.texts["a"] = STRICT
    bench.time_s = KEEP_S
    assert await bench.is_strict("a")
    assert not bench.health.problems


async def test_a_strict_project_without_a_topic_is_not_followed() -> None:
    bench = Bench({"a": "{overwrite_user_profiles: [], profile_strict_mode: true}"})
    assert not await bench.is_strict("a")
    assert "nothing could be kept" in next(iter(bench.health.problems.values()))


async def test_the_number_of_projects_that_are_kept_is_bounded_by_last_use() -> None:
    bench = Bench({"b": BROKEN}, max_projects=2)
    for project_id in ("a", "b", "a", "c", "a"):
        await bench.book.policy_of(project_id)
    assert bench.reads == ["a", "b", "c"]
    # With the project goes what health said of it: nobody would take it back.
    assert not bench.health.problems
    await bench.book.policy_of("b")
    assert bench.reads[-1] == "b"


async def test_an_older_answer_that_comes_late_does_not_undo_a_newer_one() -> None:
    bench = Bench({})

    async def set_and_look_meanwhile() -> None:
        bench.before_answer = None
        bench.texts["a"] = STRICT
        bench.time_s = 1.0
        assert await bench.is_strict("a")

    bench.before_answer = set_and_look_meanwhile
    assert await bench.is_strict("a")
    assert await bench.is_strict("a")


async def test_a_policy_waits_while_postgres_is_away() -> None:
    bench = Bench({"a": STRICT})

    async def away() -> None:
        raise RetryLater("Postgres is away")

    bench.before_answer = away
    with pytest.raises(RetryLater):
        await bench.book.policy_of("a")
    bench.before_answer = None
    assert await bench.is_strict("a")
