"""A project's configuration: each key is stronger than the server's, and a wrong one is named with its line."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigurationError
from schemas.policies import checked_policy, policy_of
from schemas.profile_schema import DEFAULT_TOPICS, EventTag, ProfilePolicy
from schemas.project_config import MAX_CHARACTERS, ProjectConfig, parse_project_config
from schemas.settings import Settings

SERVER = Settings.model_validate(
    {
        "extraction": {"language": "zh", "system_prompt": "You are Ada."},
        "profile": {
            "additional_user_profiles": [{"topic": "gaming", "sub_topics": ["fps"]}],
            "profile_strict_mode": True,
            "profile_validate_mode": True,
            "max_profile_subtopics": 9,
            "max_pre_profile_token_size": 64,
            "event_tags": [{"name": "mood"}],
            "event_theme_requirement": "health",
        },
    }
)


def names(policy: ProfilePolicy) -> list[str]:
    return [topic.topic for topic in policy.slots]


def of_project(text: str) -> ProfilePolicy:
    return policy_of(SERVER, parse_project_config(text))


def problem_of(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_project_config(text)
    return str(caught.value)


def test_without_settings_the_default_policy_is_memobases_slots_and_nothing_strict() -> None:
    assert policy_of(Settings()) == ProfilePolicy()


def test_the_servers_settings_are_its_policy() -> None:
    policy = policy_of(SERVER)
    assert names(policy) == [*(topic.topic for topic in DEFAULT_TOPICS), "gaming"]
    assert (policy.strict, policy.validate, policy.max_sub_topics, policy.max_memo_tokens) == (True, True, 9, 64)
    assert (policy.event_tags, policy.event_theme) == ((EventTag(name="mood"),), "health")
    assert (policy.language, policy.system_prompt) == ("zh", "You are Ada.")


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "language: null\nevent_tags:\n"])
def test_what_is_unset_or_null_is_as_the_server_says(text: str) -> None:
    assert of_project(text) == policy_of(SERVER)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("language: en", "language", "en"),
        ("language: auto", "language", "auto"),
        ("profile_strict_mode: false", "strict", False),
        ("profile_validate_mode: false", "validate", False),
        ("event_theme_requirement: money", "event_theme", "money"),
        ("event_tags: [{name: Risk Taking, description: how bold}]", "event_tags", None),
        ("event_tags: []", "event_tags", ()),
    ],
)
def test_each_key_overrides_the_servers_and_no_other(text: str, field: str, value: Any) -> None:
    found, server = of_project(text), policy_of(SERVER)
    if value is None:
        value = (EventTag(name="risk_taking", description="how bold"),)
    assert getattr(found, field) == value
    for other in ("strict", "validate", "event_tags", "event_theme", "language", "slots", "system_prompt"):
        assert other == field or getattr(found, other) == getattr(server, other)


def test_additional_topics_come_beside_the_servers_and_overwriting_ones_alone() -> None:
    additional = "additional_user_profiles: [{topic: Shop, sub_topics: [basket]}]"
    overwriting = "overwrite_user_profiles: [{topic: Plan, sub_topics: [tier]}]"
    assert names(of_project(additional)) == [*names(policy_of(SERVER)), "shop"]
    assert names(of_project(overwriting)) == ["plan"]
    assert names(of_project(f"{additional}\n{overwriting}")) == ["plan"]


def test_a_topic_without_sub_topics_is_refused_when_it_is_set() -> None:
    text = "language: en\nadditional_user_profiles:\n  - topic: ok\n    sub_topics: [a]\n  - topic: broken\n"
    assert problem_of(text) == (
        "project configuration: additional_user_profiles, topic 2, sub_topics: is missing (line 5)"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("event_tags: 3", "event_tags: must be a list (line 1)"),
        ("\nevent_tags:\n- {nam: a}", "event_tags, event_tag 1, name: is missing (line 3)"),
        ("language: ja", "language: Input should be 'auto', 'en' or 'zh' (line 1)"),
        ("profile_strict_mode: perhaps", "profile_strict_mode: Input should be a valid boolean"),
        ("profil_strict_mode: true", "unknown key profil_strict_mode; did you mean profile_strict_mode? (line 1)"),
        ("language: en\nlanguage: zh", "language: stands there twice (line 2)"),
        ("- language", "the top level must be a mapping"),
        ("language: [en", "no YAML (line 1, column 14)"),
        ("1: a", "a key must be a name (line 1)"),
        ("event_theme_requirement: 2026-13-45", "put it in quotes"),
        ("a: &b [x]\nc: *b", "aliases"),
        ("\n" + "[" * 60_000, "nested more than 16 levels deep (line 2)"),
        ("\n!!python/object:os.system x", "YAML tags (!name) are not taken (line 2)"),
        *((f"language: !!{tag}", "YAML tags") for tag in ("python/name:os.system", "bool x", "timestamp x", 'int ""')),
        ("? !!str {a: b}\n: c", "YAML tags"),
        ("language: 1" + ":01" * 300 + ".5", "YAML cannot read a value"),
        ("\x00", "no YAML"),
        ('"\\ud800": 1', "the text: Input should be a valid string"),
        ("language: en #" + "x" * MAX_CHARACTERS, "characters, at most 65535 are taken"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, expected: str) -> None:
    assert expected in problem_of(text)


def test_a_value_is_never_quoted() -> None:
    assert "hunter2" not in problem_of("language: hunter2\nevent_tags: hunter2\nprofile_strict_mode: [hunter2]")


def test_a_text_of_the_largest_size_is_taken() -> None:
    text = "language: en #"
    assert parse_project_config(text + "x" * (MAX_CHARACTERS - len(text))).language == "en"


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert isinstance(parse_project_config(text), ProjectConfig)


def test_a_strict_policy_without_topics_is_refused_by_the_server_and_for_a_project() -> None:
    with pytest.raises(ConfigurationError, match="nothing could be kept"):
        checked_policy(SERVER, parse_project_config("overwrite_user_profiles: []"))
    loose = parse_project_config("{overwrite_user_profiles: [], profile_strict_mode: false}")
    assert checked_policy(SERVER, loose).slots == ()
    with pytest.raises(ValueError, match="nothing could be kept"):
        Settings.model_validate({"profile": {"overwrite_user_profiles": [], "profile_strict_mode": True}})
