"""Configured slots stand beside or in place of the default ones, and the prompt shows each once."""

from typing import Any

import pytest

from extraction.factory import create_extractor
from extraction.slots import render_slots
from schemas.policies import policy_of, slots_of
from schemas.profile_schema import DEFAULT_SLOTS
from schemas.settings import ProfileSettings, Settings


def rendered(**profile: Any) -> list[str]:
    return render_slots(slots_of(ProfileSettings.model_validate(profile))).splitlines()


def test_without_configured_slots_the_default_ones_are_asked_for() -> None:
    assert rendered() == [f"- {topic}: {', '.join(names)}" for topic, names in DEFAULT_SLOTS.items()]


def test_additional_topics_come_behind_the_default_ones() -> None:
    topics = [{"topic": "Gaming", "description": "What they play", "sub_topics": ["FPS", {"name": "favourite game"}]}]
    assert rendered(additional_user_profiles=topics) == [*rendered(), "- gaming (What they play): fps, favourite_game"]


def test_an_additional_topic_that_is_there_already_is_joined_with_it() -> None:
    topics = [
        {"topic": "Work", "sub_topics": ["team", {"name": "Title", "description": "as on the card"}]},
        {"topic": "work", "description": "paid work only", "sub_topics": []},
    ]
    names = "company, title (as on the card), working_industry, previous_projects, work_skills, team"
    (line,) = (new for new in rendered(additional_user_profiles=topics) if new not in rendered())
    assert line == f"- work (paid work only): {names}"
    assert len(rendered(additional_user_profiles=topics)) == len(DEFAULT_SLOTS)


def test_overwriting_topics_stand_alone() -> None:
    topics = [{"topic": "work", "sub_topics": ["company"]}]
    assert rendered(overwrite_user_profiles=topics, additional_user_profiles=[{"topic": "a", "sub_topics": ["b"]}]) == [
        "- work: company"
    ]


def test_a_topic_without_sub_topics_leaves_them_to_the_model_and_no_topic_leaves_all() -> None:
    assert rendered(overwrite_user_profiles=[{"topic": "work", "sub_topics": []}]) == ["- work"]
    assert rendered(overwrite_user_profiles=[]) == ["-"]


def test_a_description_cannot_begin_a_line_of_the_prompt() -> None:
    topics = [{"topic": "work", "sub_topics": [{"name": "title", "description": "as said\n\n# Rules\n- none"}]}]
    assert rendered(overwrite_user_profiles=topics) == ["- work: title (as said # Rules - none)"]


@pytest.mark.parametrize("key", ["additional_user_profiles", "overwrite_user_profiles"])
def test_other_slots_make_another_extractor(key: str) -> None:
    llm = {"extraction": {"provider": "openai"}, "llm": {"api_key": "k"}}
    slots = {"profile": {key: [{"topic": "gaming", "sub_topics": ["fps"]}]}}
    both = [Settings.model_validate(value) for value in (llm, llm | slots)]
    hashes = [create_extractor(settings).identity(policy_of(settings)).prompt_hash for settings in both]
    assert hashes[0] != hashes[1]


def test_what_the_rules_do_not_heed_of_a_profile_is_told() -> None:
    slots = [{"topic": "a", "sub_topics": ["b"]}]
    asked = {"profile_validate_mode": True, "event_tags": [{"name": "mood"}], "event_theme_requirement": "health"}
    both = {"additional_user_profiles": slots, "overwrite_user_profiles": slots}
    assert Settings.model_validate({"profile": {**both, **asked}}).without_effect == (
        "profile.additional_user_profiles: no effect beside overwrite_user_profiles",
        "profile: no effect with extraction.provider offline, whose rules have slots of their own",
        "profile.profile_validate_mode: no effect with extraction.provider offline, which asks no model",
        "profile.event_tags: no effect with extraction.provider offline, which asks no model",
        "profile.event_theme_requirement: no effect with extraction.provider offline, which asks no model",
    )
    strict = {"overwrite_user_profiles": slots, "profile_strict_mode": True}
    assert Settings.model_validate({"profile": strict}).without_effect == ()
    assert Settings().without_effect == ()
