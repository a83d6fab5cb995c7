"""A policy decides what is asked for and what is kept; what a model says against it changes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from extraction import prompting
from extraction.factory import create_extractor
from extraction.merge import Answer, MergePlan, OpenSlot, plan_merge
from extraction.offline.provider import OfflineSteps, offline_identity
from extraction.pipeline import Pipeline
from extraction.prompting import LANGUAGES, Language
from schemas.conversation import Message
from schemas.memory import Extraction, Fact, MemoryUpdate, Profile, Usage
from schemas.policies import policy_of
from schemas.profile_schema import EventTag, ProfilePolicy, ProfileTopic, SubTopic
from schemas.settings import Settings
from tests.unit.extraction.builders import applied, at, contents, fact, profile, said, slot

FOODS = SubTopic(name="foods", description="what the user eats", update_description="keep the newest three")
POLICY = ProfilePolicy(
    slots=(
        ProfileTopic(topic="interest", description="likes only", sub_topics=(FOODS, SubTopic(name="music"))),
        ProfileTopic(topic="gaming", sub_topics=()),
    )
)
STRICT = replace(POLICY, strict=True)
TAGGED = replace(POLICY, event_tags=(EventTag(name="mood", description="how they feel"), EventTag(name="goal")))


class ScriptedSteps(OfflineSteps):
    """Extracts what it is told to, and answers each open slot alike."""

    def __init__(self, extraction: Extraction | None = None, answer: Answer | None = None) -> None:
        self.extraction = extraction or Extraction()
        self.answer = answer or Answer("append")
        self.asked: list[OpenSlot] = []

    async def extract(self, messages: Sequence[Message], profile: Profile, policy: ProfilePolicy) -> Extraction:
        return self.extraction

    async def decide(self, plan: MergePlan, policy: ProfilePolicy) -> tuple[Sequence[Answer], Usage]:
        self.asked.extend(plan.open_slots)
        return [self.answer for _ in plan.open_slots], Usage(completions=1)


def merge(
    facts: Sequence[Fact], policy: ProfilePolicy, into: Profile | None = None, steps: ScriptedSteps | None = None
) -> MemoryUpdate:
    pipeline = Pipeline(offline_identity("1"), steps or ScriptedSteps(), None)
    return asyncio.run(pipeline.merge(Extraction(facts=tuple(facts)), into or Profile(), policy))


def system(language: Language = "en", policy: ProfilePolicy = POLICY) -> str:
    return prompting.extract_system(language, policy)


# What is kept


def test_a_strict_policy_keeps_its_own_slots_and_drops_the_rest_with_a_reason() -> None:
    facts = [fact("figs"), fact("two dogs", "pets", topic="lifestyle"), fact("jazz", "music"), fact("x", "films")]
    update = merge(facts, STRICT)
    assert contents(applied(Profile(), update)) == {"interest/foods": "figs", "interest/music": "jazz"}
    assert update.dropped == ((facts[1], "outside"), (facts[3], "outside"))


def test_a_topic_without_sub_topics_takes_any_in_a_strict_policy_too() -> None:
    update = merge([fact("Portal", "puzzles", topic="gaming")], STRICT)
    assert contents(applied(Profile(), update)) == {"gaming/puzzles": "Portal"}


def test_a_policy_that_is_not_strict_keeps_slots_of_the_models_own() -> None:
    assert merge([fact("two dogs", "pets", topic="lifestyle")], POLICY).dropped == ()


def test_a_fact_that_a_strict_policy_drops_costs_no_call() -> None:
    steps = ScriptedSteps()
    held = profile(slot("one cat", "pets", topic="lifestyle"))
    update = merge([fact("two dogs", "pets", topic="lifestyle")], STRICT, held, steps)
    assert (steps.asked, update.usage.completions) == ([], 0)


@pytest.mark.parametrize(
    ("policy", "kept"), [(TAGGED, (("mood", "glad"), ("goal", "run"))), (POLICY, ())], ids=["tags", "no tags"]
)
def test_only_the_policys_tags_are_kept(policy: ProfilePolicy, kept: tuple[tuple[str, str], ...]) -> None:
    found = Extraction(facts=(fact("x"),), tags=(("mood", "glad"), ("weather", "rain"), ("goal", "run")))
    pipeline = Pipeline(offline_identity("1"), ScriptedSteps(found), None)
    assert asyncio.run(pipeline.extract(said("hi"), Profile(), policy)).tags == kept


# What is checked, and how it is joined


@pytest.mark.parametrize(
    ("validate", "own", "asked"),
    [
        (False, None, False),
        (True, None, True),
        (False, True, True),
        (True, False, False),
    ],
)
def test_a_first_value_is_checked_where_its_slot_says_so_else_by_the_policy(
    validate: bool, own: bool | None, asked: bool
) -> None:
    topic = ProfileTopic(topic="interest", sub_topics=(SubTopic(name="foods", validate_value=own),))
    steps = ScriptedSteps()
    merge([fact("figs")], ProfilePolicy(slots=(topic,), validate=validate), steps=steps)
    assert bool(steps.asked) is asked


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (Answer("append"), {"interest/foods": "figs"}),
        (Answer("update", "dried figs"), {"interest/foods": "dried figs"}),
    ],
)
def test_a_value_that_passes_the_check_becomes_a_new_slot(answer: Answer, after: dict[str, str]) -> None:
    update = merge([fact("figs")], replace(POLICY, validate=True), steps=ScriptedSteps(answer=answer))
    assert contents(applied(Profile(), update)) == after
    assert [(change.op, change.message_ids) for change in update.changes] == [("c", ("b0/0",))]


def test_a_value_that_does_not_pass_the_check_is_dropped_as_invalid() -> None:
    news = fact("a friend eats figs")
    update = merge([news], replace(POLICY, validate=True), steps=ScriptedSteps(answer=Answer("abort")))
    assert (update.changes, update.dropped) == ((), ((news, "invalid"),))


def test_all_checks_and_merges_of_a_window_are_one_call() -> None:
    facts = [fact("figs"), fact("jazz", "music"), fact("Portal", "puzzles", topic="gaming")]
    update = merge(facts, replace(POLICY, validate=True), profile(slot("blues", "music")))
    assert update.usage.completions == 1


def test_a_slot_that_says_how_it_is_joined_is_never_joined_by_rule() -> None:
    city = SubTopic(name="city", update_description="keep all of them")
    policy = ProfilePolicy(slots=(ProfileTopic(topic="contact_info", sub_topics=(city,)),))
    assert ProfilePolicy().single_valued("contact_info", "city")
    assert not policy.single_valued("contact_info", "city")
    held = profile(slot("Oslo", "city", topic="contact_info", day=5))
    late = fact("Rome", "city", topic="contact_info", day=1)
    assert [item.facts for item in plan_merge([late], held, policy).open_slots] == [(late,)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_merge_item_says_what_belongs_there_and_how_it_is_joined(language: Language) -> None:
    taken = OpenSlot(slot("tea", day=1), (fact("figs", day=2),), FOODS)
    new = OpenSlot(None, (fact("figs", day=2),), FOODS)
    text = prompting.merge_input(language, [taken, new])
    about = " interest / foods\n  belongs: what the user eats\n"
    assert f"0{about}  join: keep the newest three\n  remembered [2026/01/02]: tea\n" in text
    assert f"1{about}  news [2026/01/03]: figs" in text


# What is asked for


@pytest.mark.parametrize("language", LANGUAGES)
def test_slots_stand_in_the_fixed_part_with_their_descriptions(language: Language) -> None:
    assert "\n- interest (likes only): foods (what the user eats), music\n- gaming\n" in system(language)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "change",
    [
        {"strict": True},
        {"event_tags": (EventTag(name="mood"),)},
        {"event_theme": "health"},
        {"slots": ()},
        {"system_prompt": "You are Ada."},
    ],
)
def test_what_is_asked_for_follows_the_policy(language: Language, change: dict[str, Any]) -> None:
    assert system(language) != system(language, replace(POLICY, **change))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("change", [{"validate": True}, {"max_sub_topics": 3}, {"max_memo_tokens": 20}])
def test_what_only_later_steps_need_leaves_the_extract_prompt_as_it_is(
    language: Language, change: dict[str, Any]
) -> None:
    assert system(language) == system(language, replace(POLICY, **change))


@pytest.mark.parametrize("language", LANGUAGES)
def test_tags_and_theme_are_named_in_the_prompt(language: Language) -> None:
    text = system(language, replace(TAGGED, event_theme="health, $5"))
    assert "\n- mood (how they feel)\n- goal\n" in text
    assert "health, $5\n" in text


def test_a_strict_prompt_names_no_slots_in_use_outside_the_policy() -> None:
    held = profile(slot("a cat", "pets", topic="lifestyle"), slot("Portal", "puzzles", topic="gaming"), slot("tea"))
    open_text, strict_text = (prompting.extract_input("en", said("hi"), held, policy) for policy in (POLICY, STRICT))
    assert ("- lifestyle: pets" in open_text, "- lifestyle: pets" in strict_text) == (True, False)
    assert "- gaming: puzzles" in strict_text
    # It stands in the fixed part.
    assert "interest" not in open_text


def test_the_hash_of_either_provider_covers_the_policy() -> None:
    openai = Settings.model_validate({"extraction": {"provider": "openai"}, "llm": {"api_key": "k"}})
    for settings in (Settings(), openai):
        extractor = create_extractor(settings)
        policies = (policy_of(settings), STRICT, TAGGED, replace(POLICY, validate=True), replace(POLICY, language="zh"))
        assert len({extractor.identity(policy).prompt_hash for policy in policies}) == len(policies)
        assert extractor.identity(STRICT) == extractor.identity(replace(POLICY, strict=True))


def test_the_rules_of_the_offline_provider_keep_to_a_strict_policy_as_well() -> None:
    extractor = create_extractor(Settings())
    topic = ProfileTopic(topic="contact_info", sub_topics=(SubTopic(name="city"),))
    policy = ProfilePolicy(slots=(topic,), strict=True, validate=True)

    async def update() -> MemoryUpdate:
        found = await extractor.extract(said("I live in Oslo. I have two dogs."), Profile(), policy)
        return await extractor.merge(found, Profile(), policy)

    found = asyncio.run(update())
    assert contents(applied(Profile(), found)) == {"contact_info/city": "Oslo"}
    assert {reason for _, reason in found.dropped} == {"outside"}
    assert found.changes[0].occurred_at == at(0)
