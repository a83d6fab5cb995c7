"""Organize and compact against a scripted server over real HTTP: when they are called, and what a bad answer does."""

from collections.abc import AsyncIterator

import pytest

from extraction.factory import create_extractor
from extraction.protocol import Extractor
from schemas.memory import Extraction, Profile
from schemas.profile_schema import ProfilePolicy
from schemas.settings import Settings
from tests.support import scripted_openai as scripted
from tests.support.scripted_openai import ScriptedOpenAI, Step
from tests.unit.extraction.builders import applied, contents, fact, profile, slot

POLICY = ProfilePolicy(max_sub_topics=3, max_memo_tokens=24)
LONG = "likes long walks in the hills; likes short walks at the beach"
CROWDED = profile(slot("a things", "a"), slot("b things", "b"), slot("c things", "c"))
NEW_SLOT = Extraction(facts=(fact("d things", "d", day=1),))
NEW_PIECE = Extraction(facts=(fact("likes rain", "a", day=1),))


@pytest.fixture
async def server() -> AsyncIterator[ScriptedOpenAI]:
    async with ScriptedOpenAI() as running:
        yield running


@pytest.fixture
async def extractor(server: ScriptedOpenAI) -> AsyncIterator[Extractor]:
    made = create_extractor(
        Settings.model_validate(
            {
                "extraction": {"provider": "openai"},
                "llm": {"base_url": server.base_url, "api_key": "sk-secret", "max_retries": 0},
                "embedding": {"dimension": server.dimension},
            }
        )
    )
    yield made
    await made.close()


def steps_of(server: ScriptedOpenAI) -> list[Step]:
    return [call.kind for call in server.calls]


def join(members: list[int], memo: str, name: str = "things") -> dict[str, object]:
    return {"joins": [{"members": members, "sub_topic": name, "memo": memo}]}


def shorter(memo: str) -> dict[str, object]:
    return {"memos": [{"index": 0, "memo": memo}]}


async def test_a_crowded_topic_and_a_long_memo_cost_one_call_each(server: ScriptedOpenAI, extractor: Extractor) -> None:
    held = profile(*CROWDED.slots, slot(LONG, "walks", topic="sports"))
    facts = (*NEW_SLOT.facts, fact("likes rain", "walks", topic="sports", day=1), fact("b2", "b", day=1))
    decisions = [{"index": index, "action": "append", "memo": None} for index in (0, 1)]
    server.script(
        {"decisions": decisions},
        join([0, 1, 3], "a things, b things, b2 and d things"),
        shorter("likes walks and rain"),
    )
    update = await extractor.merge(Extraction(facts=facts), held, POLICY)
    assert steps_of(server) == ["merge", "organize", "compact"]
    assert (update.usage.completions, update.usage.prompt_tokens) == (3, server.prompt_tokens)
    assert contents(applied(held, update)) == {
        "interest/c": "c things",
        "interest/things": "a things, b things, b2 and d things",
        "sports/walks": "likes walks and rain",
    }


async def test_an_organize_answer_that_leaves_something_out_is_sent_back_once(
    server: ScriptedOpenAI, extractor: Extractor
) -> None:
    server.script(join([0, 1], "a things"), join([0, 1], "a things and b things"))
    update = await extractor.merge(NEW_SLOT, CROWDED, POLICY)
    assert steps_of(server) == ["organize", "organize"]
    assert "joins.0.memo: leaves out 1" in server.calls[1].prompt
    assert contents(applied(CROWDED, update))["interest/things"] == "a things and b things"


async def test_where_the_second_answer_is_no_better_the_members_own_words_are_joined(
    server: ScriptedOpenAI, extractor: Extractor
) -> None:
    server.script(join([0, 1], "a things"), join([0, 1], "a things"))
    update = await extractor.merge(NEW_SLOT, CROWDED, POLICY)
    assert contents(applied(CROWDED, update))["interest/things"] == "a: a things; b: b things"
    assert update.usage.completions == 2


async def test_a_memo_that_is_still_too_long_stays_as_it_was_and_is_noted(
    server: ScriptedOpenAI, extractor: Extractor
) -> None:
    held = profile(slot(LONG, "a"))
    merge = {"decisions": [{"index": 0, "action": "append", "memo": None}]}
    server.script(merge, shorter("walks " * 40), shorter("walks " * 40))
    update = await extractor.merge(NEW_PIECE, held, POLICY)
    assert steps_of(server) == ["merge", "compact", "compact"]
    assert contents(applied(held, update)) == {"interest/a": f"{LONG}; likes rain"}
    assert [note.reason for note in update.over_limit] == ["not-shortened"]


@pytest.mark.parametrize("fault", [scripted.refusal(), scripted.cut_off(), scripted.context_too_long()])
async def test_a_model_that_refuses_to_tidy_costs_nobody_a_fact(
    server: ScriptedOpenAI, extractor: Extractor, fault: scripted.Fault
) -> None:
    server.script(fault)
    update = await extractor.merge(NEW_SLOT, CROWDED, POLICY)
    assert contents(applied(CROWDED, update))["interest/d"] == "d things"
    assert [(note.topic, note.reason) for note in update.over_limit] == [("interest", "not-joined")]


async def test_chinese_memos_are_tidied_with_the_chinese_prompts(server: ScriptedOpenAI, extractor: Extractor) -> None:
    held = profile(slot("喜欢在山里长时间散步；喜欢在海边散步和游泳", "a"))
    merge = {"decisions": [{"index": 0, "action": "append", "memo": None}]}
    server.script(merge, shorter("喜欢散步、游泳和雨天"))
    update = await extractor.merge(Extraction(facts=(fact("喜欢雨天", "a", day=1),)), held, POLICY)
    assert all("数据" in call.prompt for call in server.calls)
    assert contents(applied(held, update)) == {"interest/a": "喜欢散步、游泳和雨天"}


async def test_a_new_user_costs_no_call(server: ScriptedOpenAI, extractor: Extractor) -> None:
    await extractor.merge(NEW_SLOT, Profile(), POLICY)
    assert steps_of(server) == []
