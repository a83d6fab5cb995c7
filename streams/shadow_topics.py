"""What a shadow has in Kafka: topics, groups and transactional ids that carry its name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from schemas.errors import ConfigurationError
from schemas.settings import BufferSettings, KafkaSettings
from streams.topics import TopicDeclaration, Topics, declarations

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


@dataclass(frozen=True, slots=True)
class ShadowTopics(Topics):
    """It reads the live `chat-messages`, and whatever it writes is its own."""

    shadow: str = ""

    @property
    def extraction_windows(self) -> str:
        return f"{self.prefix}shadow-{self.shadow}-extraction-windows"

    @property
    def buffer_group(self) -> str:
        return f"{self.prefix}memostream-shadow-{self.shadow}-buffer"

    @property
    def extraction_group(self) -> str:
        return f"{self.prefix}memostream-shadow-{self.shadow}-extraction"

    def buffer_transactional_id(self, partition: int) -> str:
        return f"{self.prefix}memostream-shadow-{self.shadow}-buffer-{partition}"

    @property
    def reads(self) -> Mapping[str, str]:
        """Which topic each of its consumer groups reads, first the one that it is made from."""
        return {self.buffer_group: self.chat_messages, self.extraction_group: self.extraction_windows}

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(self.reads)

    @property
    def source(self) -> str:
        """The topic that it is made from."""
        return self.reads[self.groups[0]]

    @property
    def own(self) -> tuple[str, ...]:
        """The topics that nobody else has."""
        return self.extraction_windows, self.buffer_changelog


@dataclass(frozen=True, slots=True)
class WindowShadowTopics(ShadowTopics):
    """Of a shadow that extracts the live windows anew, and buffers nothing."""

    @property
    def extraction_windows(self) -> str:
        return Topics(self.prefix).extraction_windows

    @property
    def reads(self) -> Mapping[str, str]:
        return {self.extraction_group: self.extraction_windows}

    @property
    def own(self) -> tuple[str, ...]:
        return ()


def check_name(name: str) -> str:
    """The name; raises ConfigurationError for one that no topic can carry."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"--shadow: {name!r} is no name of a shadow: 1 to 40 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
        )
    return name


def shadow_topics(prefix: str, name: str, source: str) -> ShadowTopics:
    """The topics of a shadow that is made from `chat-messages` or from `extraction-windows`."""
    kind = ShadowTopics if source == "chat-messages" else WindowShadowTopics
    return kind(prefix, name)


def shadow_declarations(
    kafka: KafkaSettings, buffer: BufferSettings, topics: ShadowTopics, partitions: int
) -> tuple[TopicDeclaration, ...]:
    """The topics that the shadow has for itself, as the live ones are; none where it buffers nothing."""
    live = Topics(kafka.topic_prefix)
    names = dict(zip((live.extraction_windows, live.buffer_changelog), topics.own, strict=False))
    declared = declarations(kafka, buffer)
    return tuple(
        replace(topic, name=names[topic.name], partitions=partitions, co_partitioned=False)
        for topic in declared
        if topic.name in names
    )
