"""Names of what a shadow has in Kafka."""

import pytest

from schemas.errors import ConfigurationError
from schemas.settings import BufferSettings, KafkaSettings
from streams.shadow_topics import check_name, shadow_declarations, shadow_topics
from streams.topics import Topics

LIVE = Topics("team-")


def test_a_shadow_reads_the_live_messages_and_has_all_else_for_itself() -> None:
    own = shadow_topics("team-", "b", "chat-messages")
    assert own.chat_messages == LIVE.chat_messages
    names = (own.extraction_windows, own.buffer_group, own.extraction_group, own.buffer_changelog)
    assert names == (
        "team-shadow-b-extraction-windows",
        "team-memostream-shadow-b-buffer",
        "team-memostream-shadow-b-extraction",
        "team-memostream-shadow-b-buffer-buffer-changelog",
    )
    assert own.buffer_transactional_id(3) == "team-memostream-shadow-b-buffer-3"


def test_two_shadows_share_nothing_but_their_input() -> None:
    one, other = (shadow_topics("", name, "chat-messages") for name in ("a", "b"))
    for name in ("extraction_windows", "buffer_group", "extraction_group", "buffer_changelog"):
        assert getattr(one, name) != getattr(other, name)
    assert one.buffer_transactional_id(0) != other.buffer_transactional_id(0)


def test_its_topics_are_declared_as_the_live_ones_with_the_partitions_of_its_source() -> None:
    kafka, buffer = KafkaSettings(topic_prefix="team-", partitions=4), BufferSettings()
    own = shadow_topics("team-", "b", "chat-messages")
    declared = {topic.name: topic for topic in shadow_declarations(kafka, buffer, own, 7)}
    assert set(declared) == {own.extraction_windows, own.buffer_changelog}
    assert {topic.partitions for topic in declared.values()} == {7}
    assert declared[own.buffer_changelog].config["cleanup.policy"] == "compact"
    assert declared[own.extraction_windows].config["cleanup.policy"] == "delete"


def test_one_that_extracts_the_live_windows_again_has_no_topics() -> None:
    own = shadow_topics("team-", "b", "extraction-windows")
    assert own.extraction_windows == LIVE.extraction_windows
    assert own.extraction_group != LIVE.extraction_group
    assert shadow_declarations(KafkaSettings(topic_prefix="team-"), BufferSettings(), own, 7) == ()


@pytest.mark.parametrize("name", ["b", "gpt-5.1_zh", "0", "a" * 40])
def test_a_name_that_a_topic_can_carry_is_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "B", "-b", "a b", "a/b", "a" * 41, "é", "b\n"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="--shadow"):
        check_name(name)
