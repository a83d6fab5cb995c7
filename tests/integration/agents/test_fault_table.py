"""Each fault of an endpoint at each step: no fact is lost, none is applied twice, and poison alone is parked."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from extraction.factory import create_extractor
from extraction.protocol import Extractor
from schemas.profile_schema import ProfilePolicy
from schemas.settings import Settings
from schemas.windows import Window
from storage.tables import gists, held_windows, outbox, units
from tests.integration.agents.fault_table import STEPS, TABLE, Row
from tests.support.extracting import unit, window
from tests.support.scripted_openai import ScriptedOpenAI, Step, hang
from tests.support.settling import Bench

# As many as fail at a time when all do; one less than that may be parked before the endpoint is blamed.
USERS = ("u1", "u2", "u3")
LONG = "and more " * 12
FACTS = frozenset({"figs", "chess", "golf", "welder"})
POLICY = ProfilePolicy(max_sub_topics=2, max_memo_tokens=24)
DIMENSION = 256

CASES = [(row, step) for row in TABLE for step in STEPS if step != "embed" or row.embed is not None]
ABOUT_ONE = [(row, step) for row, step in CASES if row.of_one]


def name_of(value: Row | Step) -> str:
    return value.name if isinstance(value, Row) else value


@dataclass(frozen=True, slots=True)
class Scene:
    """A settler whose extractor asks a scripted server."""

    bench: Bench[Extractor]
    server: ScriptedOpenAI

    async def prepare(self, *users: str) -> None:
        """Memory that makes the next window of a user go through every step."""
        for user in users:
            known = unit(f"{user}-known", "fact interest/foods: likes tea", "fact hobby/darts: plays darts")
            assert await self.bench.settle(window(known, user_id=user))

    async def outcome(self, user: str) -> str:
        """`applied`, `held: <reason>` or `parked: <reasons>`, of all that this user said after `prepare`."""
        async with self.bench.engine.connect() as connection:
            held = (await connection.scalars(select(held_windows.c.reason).filter_by(user_id=user))).all()
            found = await connection.execute(select(units.c.state, units.c.reason).filter_by(user_id=user))
            states = {(row.state, row.reason) for row in found}
        if held:
            return f"held: {held[0]}"
        parked = sorted(reason for state, reason in states if state == "parked")
        return f"parked: {', '.join(parked)}" if parked else "applied"

    async def remembered(self, user: str) -> list[str]:
        """The words of the facts that the profile holds, each as often as it stands there."""
        words = re.findall(r"\w+", " ".join((await self.bench.memos(user)).values()))
        return sorted(word for word in words if word in FACTS | {"poison"})

    async def events(self, user: str) -> list[str]:
        async with self.bench.engine.connect() as connection:
            return sorted((await connection.scalars(select(gists.c.text).filter_by(user_id=user))).all())

    async def dead_letters(self) -> int:
        async with self.bench.engine.connect() as connection:
            found = await connection.scalars(select(outbox.c.id).filter_by(aggregatetype="dead-letters"))
            return len(found.all())


@pytest.fixture
async def scene(engine: AsyncEngine, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    row: Row | None = request.node.callspec.params.get("row") if hasattr(request.node, "callspec") else None
    # Only who hangs is waited for in vain; a busy machine answers later than it should.
    timeout_s = 1.0 if row is not None and row.chat == hang() else 20.0
    async with ScriptedOpenAI(dimension=DIMENSION) as server:
        llm = {"base_url": server.base_url, "timeout_s": timeout_s, "max_retries": 0}
        embedding = {"dimension": DIMENSION, "timeout_s": timeout_s}
        settings = Settings.model_validate({"extraction": {"provider": "openai"}, "llm": llm, "embedding": embedding})
        extractor = create_extractor(settings)
        yield Scene(Bench(engine, extractor, POLICY, failing_users_limit=len(USERS), hold_after_s=1.0), server)
        await extractor.close()


def said(user: str, *, poison: bool = False) -> Window:
    """Facts for a taken slot, for a topic over its limit, and over the limit of a memo; and an event."""
    texts = (
        "fact interest/foods: likes figs",
        "fact hobby/chess: plays chess",
        f"fact work/title: welder {LONG}",
        "event: moved to Oslo",
        "fact hobby/golf: plays golf",
    )
    bad = f"fact hobby/darts: poison {LONG}\nevent: met poison"
    blobs = [unit(f"{user}-said", *texts)]
    if poison:
        blobs.append(unit(f"{user}-poison", bad, offset=1))
    return window(*blobs, user_id=user)


async def test_every_step_is_gone_through_where_nothing_fails(scene: Scene) -> None:
    await scene.prepare("u1")
    scene.server.calls.clear()
    await scene.bench.settle(said("u1", poison=True))
    assert {call.kind for call in scene.server.calls} == set(STEPS)
    assert set(await scene.remembered("u1")) == FACTS | {"poison"}


@pytest.mark.parametrize(("row", "step"), CASES, ids=name_of)
async def test_a_fault_that_passes_leaves_everything_applied_once(scene: Scene, row: Row, step: Step) -> None:
    await scene.prepare("u1")
    scene.server.fail(step, row.answer(step))
    assert await scene.bench.settle(said("u1"))
    assert await scene.outcome("u1") == "applied"
    assert await scene.remembered("u1") == sorted(FACTS)
    assert await scene.events("u1") == ["moved to Oslo"]
    assert scene.bench.deps.health.problems == {}


@pytest.mark.parametrize(("row", "step"), CASES, ids=name_of)
async def test_a_fault_that_lasts_parks_next_to_nothing_and_all_is_applied_when_it_is_over(
    scene: Scene, row: Row, step: Step
) -> None:
    await scene.prepare(*USERS)
    scene.server.broken[step] = row.answer(step)
    for user in USERS:
        assert await scene.bench.settle(said(user))
    outcomes = [await scene.outcome(user) for user in USERS]
    expected = row.lasts(step)
    if expected == "held once several users fail":
        assert outcomes == [row.of_one] * (len(USERS) - 1) + ["held: endpoint-away"]
    else:
        assert outcomes == [expected] * len(USERS)
    has_problem = "endpoint" in scene.bench.deps.health.problems
    assert has_problem == (expected in ("held: endpoint-refused", "held once several users fail"))
    scene.server.broken.clear()
    await scene.bench.drained()
    assert scene.bench.deps.health.problems == {}
    for user, outcome in zip(USERS, outcomes, strict=True):
        if outcome.startswith("held"):
            assert await scene.outcome(user) == "applied"
        if not outcome.startswith("parked"):
            assert await scene.remembered(user) == sorted(FACTS)
            assert await scene.events(user) == ["moved to Oslo"]


@pytest.mark.parametrize(("row", "step"), ABOUT_ONE, ids=name_of)
async def test_a_fault_about_one_message_parks_that_alone(scene: Scene, row: Row, step: Step) -> None:
    await scene.prepare("u1")
    answer = row.answer(step)
    scene.server.answer = lambda call: answer if call.kind == step and "poison" in call.prompt else None
    assert await scene.bench.settle(said("u1", poison=True))
    expected = row.is_about_one(step)
    assert await scene.outcome("u1") == expected
    if expected == "applied":
        assert await scene.dead_letters() == 0
        assert sorted(set(await scene.remembered("u1"))) == sorted(FACTS | {"poison"})
        assert await scene.events("u1") == ["met poison", "moved to Oslo"]
    else:
        assert await scene.dead_letters() == 1
        assert ("u1-said", -1, "applied", None) in await scene.bench.unit_states()
        assert await scene.remembered("u1") == sorted(FACTS)
        assert await scene.events("u1") == ["moved to Oslo"]
