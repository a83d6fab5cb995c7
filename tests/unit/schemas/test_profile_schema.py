"""Slots are checked when they are loaded, and an error names the place."""

from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigurationError
from schemas.profile_schema import ProfileTopic, join_topics
from schemas.settings import load_settings


def refusal(folder: Path, file: str) -> str:
    config_file = folder / "config.yaml"
    config_file.write_text(file)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config_file, {}, folder / ".env")
    return str(caught.value)


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        ("[{sub_topics: [a]}]", "topic 1, topic: is missing"),
        ("[{topic: a}]", "topic 1, sub_topics: is missing"),
        ("[{topic: a, sub_topics: [b]}, 3]", "topic 2: must be a mapping with topic and sub_topics"),
        ("[{topic: a, sub_topics: [b, {description: c}]}]", "topic 1, sub_topic 2, name: is missing"),
        ("[{topic: a, sub_topics: [b, 3]}]", "topic 1, sub_topic 2: must be a name, or a mapping with a name"),
        ("[{topic: a, sub_topics: b}]", "topic 1, sub_topics: must be a list"),
        ("[{topic: ' ', sub_topics: [b]}]", "topic 1, topic: must hold 1 to 100 characters"),
        ("[{topic: a, sub_topics: [{name: 3}]}]", "topic 1, sub_topic 1, name: Input should be a valid string"),
        (
            "[{topic: a, sub_topics: [{name: b, descripton: c}]}]",
            "unknown key profile.overwrite_user_profiles, topic 1, sub_topic 1, descripton; did you mean"
            " profile.overwrite_user_profiles, topic 1, sub_topic 1, description?",
        ),
        ("{topic: a}", "profile.overwrite_user_profiles: must be a list"),
    ],
)
def test_a_wrong_slot_is_named_by_its_place(tmp_path: Path, topics: str, expected: str) -> None:
    message = refusal(tmp_path, f"profile: {{overwrite_user_profiles: {topics}}}")
    assert expected in message
    assert str(tmp_path / "config.yaml") in message


def test_names_are_written_as_memobase_writes_them() -> None:
    topic = ProfileTopic.model_validate(
        {"topic": " Life Event ", "sub_topics": ["Moved  House", {"name": "工作 经历"}]}
    )
    assert (topic.topic, [slot.name for slot in topic.sub_topics]) == ("life_event", ["moved_house", "工作_经历"])


def test_an_empty_description_is_none() -> None:
    assert ProfileTopic.model_validate({"topic": "a", "description": " ", "sub_topics": []}).description is None


def test_of_two_mentions_the_later_description_counts() -> None:
    def topic(**values: Any) -> ProfileTopic:
        return ProfileTopic.model_validate({"topic": "a", "sub_topics": [], **values})

    (joined,) = join_topics(
        [
            topic(description="first", sub_topics=["b", {"name": "c", "description": "old"}]),
            topic(sub_topics=[{"name": "c", "description": "new"}, "d"]),
        ]
    )
    assert joined.description == "first"
    assert [(slot.name, slot.description) for slot in joined.sub_topics] == [("b", None), ("c", "new"), ("d", None)]
