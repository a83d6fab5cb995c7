"""Projects beside each other: what one sets changes what a model is asked for it, and what is stored of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.dependencies import ExtractionDeps
from agents.settling import Settler
from extraction.factory import create_extractor
from schemas.health import Health
from schemas.settings import Settings
from schemas.windows import Position
from storage.browsing import read_events
from storage.database import create_engine
from storage.policies import PolicyBook, stored_in
from storage.projects import clear_project_config, read_project_config, write_project_config
from storage.reading import read_profile
from tests.support.extracting import START_MS, unit, window
from tests.support.scripted_openai import Call, ScriptedOpenAI

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SHOP = """
profile_strict_mode: true
overwrite_user_profiles:
  - topic: Plan
    description: What the user pays for.
    sub_topics:
      - name: tier
        description: free, pro or team
        validate_value: true
event_tags:
  - name: mood
"""
SAID = ("fact plan/tier: pro", "fact interest/foods: likes figs", "event: changed the plan")


def tagged(call: Call) -> dict[str, object] | None:
    """An answer that tags the event, whatever was asked; None leaves merging to the default."""
    if call.kind != "extract":
        return None
    tags = [{"tag": "mood", "value": "glad"}, {"tag": "weather", "value": "rain"}]
    facts = [
        {"topic": "plan", "sub_topic": "tier", "memo": "pro", "message_indices": [0]},
        {"topic": "interest", "sub_topic": "foods", "memo": "likes figs", "message_indices": [1]},
    ]
    events = [{"gist": "changed the plan", "tags": tags, "message_indices": [2], "occurred_at": None}]
    return {"facts": facts, "events": events, "summary": "changed the plan"}


class Bench:
    """A settler with a model, and a policy book that looks at Postgres each time."""

    def __init__(self, engine: AsyncEngine, server: ScriptedOpenAI, keep_s: float = 0.0) -> None:
        self.engine = engine
        self.settings = Settings.model_validate(
            {
                "extraction": {"provider": "openai"},
                "llm": {"base_url": server.base_url, "api_key": "k"},
                "embedding": {"enabled": False},
            }
        )
        self.health = Health()
        self.book = PolicyBook(self.settings, stored_in(engine), self.health, keep_s=keep_s)
        self.extractor = create_extractor(self.settings)
        deps = ExtractionDeps(
            engine=engine,
            extractor=self.extractor,
            extraction=self.settings.extraction,
            buffer=self.settings.buffer,
            worker=self.settings.worker,
            fatal=self._fatal,
            health=self.health,
            policy_of_project=self.book.policy_of,
        )
        self.settler = Settler(deps)
        self.offset = 0

    def _fatal(self, error: BaseException) -> None:
        raise error

    async def set(self, project_id: str, text: str) -> None:
        async with self.engine.begin() as connection:
            await write_project_config(connection, project_id, text, NOW)

    async def say(self, project_id: str, *texts: str) -> None:
        """Settle one window of the project's one user."""
        self.offset += 1
        said = window(unit(f"b{self.offset}", *texts, offset=self.offset), user_id="u", project_id=project_id)
        position = Position(topic="windows", partition=0, offset=self.offset, timestamp_ms=START_MS)
        await self.settler.apply((project_id, "u"), [(said, position)], 1)

    async def contents(self, project_id: str) -> dict[str, str]:
        async with self.engine.connect() as connection:
            profile = await read_profile(connection, project_id, "u")
        return {f"{slot.topic}/{slot.sub_topic}": slot.content for slot in profile.slots}

    async def tags(self, project_id: str) -> list[str]:
        async with self.engine.connect() as connection:
            events = await read_events(connection, project_id, "u", 10)
        return [str(event.tags) for event in events]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedOpenAI]:
    async with ScriptedOpenAI(tagged) as running:
        yield running


@pytest.fixture
async def bench(database_url: str, server: ScriptedOpenAI) -> AsyncIterator[Bench]:
    settings = Settings.model_validate({"storage": {"database_url": SecretStr(database_url)}})
    engine = create_engine(settings.storage)
    bench = Bench(engine, server)
    yield bench
    await bench.extractor.close()
    await engine.dispose()


async def test_two_projects_are_asked_for_and_keep_different_things(bench: Bench, server: ScriptedOpenAI) -> None:
    await bench.set("shop", SHOP)
    await bench.say("shop", *SAID)
    await bench.say("blog", *SAID)
    extracts = [call.prompt for call in server.calls if call.kind == "extract"]
    assert [("- plan (What the user pays for.): tier (free, pro or team)" in text) for text in extracts] == [
        True,
        False,
    ]
    assert [("- interest: books" in text) for text in extracts] == [False, True]
    # The shop's first value is checked, the blog's are not.
    (check,) = (call.input for call in server.calls if call.kind == "merge")
    assert "0 plan / tier\n  belongs: free, pro or team\n  news" in check
    assert await bench.contents("shop") == {"plan/tier": "pro"}
    assert await bench.contents("blog") == {"plan/tier": "pro", "interest/foods": "likes figs"}
    (of_shop,), (of_blog,) = await bench.tags("shop"), await bench.tags("blog")
    assert ("mood" in of_shop, "weather" in of_shop) == (True, False)
    assert "mood" not in of_blog


async def test_a_change_and_its_removal_hold_from_the_next_window_on(bench: Bench) -> None:
    await bench.say("shop", *SAID)
    await bench.set("shop", SHOP)
    await bench.say("shop", *SAID)
    assert (await bench.book.policy_of("shop")).strict
    async with bench.engine.begin() as connection:
        assert await clear_project_config(connection, "shop", NOW)
        assert not await clear_project_config(connection, "shop", NOW)
        assert await read_project_config(connection, "shop") is None
    assert not (await bench.book.policy_of("shop")).strict


async def test_a_stored_configuration_that_no_longer_holds_parks_and_holds_nothing(bench: Bench) -> None:
    await bench.set("shop", "additional_user_profiles: [{topic: a}]")
    await bench.say("shop", *SAID)
    assert await bench.contents("shop") == {"plan/tier": "pro", "interest/foods": "likes figs"}
    assert "project shop" in next(iter(bench.health.problems.values()))


async def test_health_recovers_without_a_window_once_it_is_set_anew(bench: Bench) -> None:
    await bench.set("shop", "additional_user_profiles: [{topic: a}]")
    await bench.book.policy_of("shop")
    assert bench.health.problems
    watching = asyncio.create_task(bench.book.watch())
    await bench.set("shop", SHOP)
    async with asyncio.timeout(30):
        while bench.health.problems:
            await asyncio.sleep(0.01)
    watching.cancel()


async def test_a_configuration_is_stored_as_it_was_written_and_replaced(bench: Bench) -> None:
    for text in ("# 你好 $1\nlanguage: zh\n", SHOP):
        await bench.set("shop", text)
        async with bench.engine.connect() as connection:
            stored = await read_project_config(connection, "shop")
        assert stored is not None
        assert (stored.text, stored.updated_at) == (text, NOW)
