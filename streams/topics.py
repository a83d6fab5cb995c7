"""Topic declarations, their creation when missing, and the check of what exists."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code
from aiokafka.partitioner import murmur2

from schemas.errors import ConfigurationError, RetryLater
from schemas.settings import BufferSettings, KafkaSettings
from streams.clients import admin, translated

TABLE_NAME: Final = "buffer"
# A broker may not show yet what was made a moment ago.
MAX_LOOKS: Final = 50
LOOK_AGAIN_S: Final = 0.2
# Room for our headers on records that are passed on, beside those of the producer.
HEADER_ROOM_BYTES: Final = 64 * 1024
# A RocksDB copy older than half of this is discarded, for it may have missed a tombstone.
TOMBSTONE_RETENTION_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class TopicDeclaration:
    """A topic as we create it; `co_partitioned` ones must all have the same number of partitions."""

    name: str
    partitions: int
    config: Mapping[str, str]
    co_partitioned: bool = False


@dataclass(frozen=True, slots=True)
class Misfit:
    """What is wrong with an existing topic, and what to do about it."""

    found: str
    fix: str


@dataclass(frozen=True, slots=True)
class Topics:
    """Full names of the topics, groups and transactional ids of one installation."""

    prefix: str = ""

    @property
    def chat_messages(self) -> str:
        return f"{self.prefix}chat-messages"

    @property
    def extraction_windows(self) -> str:
        return f"{self.prefix}extraction-windows"

    @property
    def profile_updated(self) -> str:
        return f"{self.prefix}profile-updated"

    @property
    def event_updated(self) -> str:
        return f"{self.prefix}event-updated"

    @property
    def profiles(self) -> str:
        return f"{self.prefix}profiles"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}dead-letters"

    @property
    def ingest_group(self) -> str:
        return f"{self.prefix}memostream-ingest"

    @property
    def buffer_group(self) -> str:
        return f"{self.prefix}memostream-buffer"

    @property
    def extraction_group(self) -> str:
        return f"{self.prefix}memostream-extraction"

    @property
    def buffer_changelog(self) -> str:
        """Named as Faust names the changelog of a table."""
        return f"{self.buffer_group}-{TABLE_NAME}-changelog"

    def ingest_transactional_id(self, topic: str, partition: int) -> str:
        return f"{self.prefix}memostream-ingest-{topic}-{partition}"

    def buffer_transactional_id(self, partition: int) -> str:
        return f"{self.prefix}memostream-buffer-{partition}"


def declarations(kafka: KafkaSettings, buffer: BufferSettings) -> tuple[TopicDeclaration, ...]:
    """All topics with the settings that the promises rest on."""
    topics = Topics(kafka.topic_prefix)
    record_bytes = str(2 * buffer.max_blob_bytes)
    wide_bytes = str(2 * buffer.max_blob_bytes + HEADER_ROOM_BYTES)
    # An acknowledged record must survive the loss of one broker where there are three.
    safe = {"min.insync.replicas": "2" if kafka.replication_factor > 2 else "1"}
    log = {**safe, "cleanup.policy": "delete", "max.message.bytes": record_bytes}
    changes = {**log, "retention.ms": str(kafka.changes_retention_ms)}
    compacted = {
        **safe,
        "cleanup.policy": "compact",
        "max.message.bytes": wide_bytes,
        "delete.retention.ms": str(TOMBSTONE_RETENTION_MS),
        # Else a value that a tombstone has removed may stay for as long as little is written.
        "max.compaction.lag.ms": str(kafka.compaction_lag_ms),
    }
    n = kafka.partitions
    return (
        TopicDeclaration(topics.chat_messages, n, {**log, "retention.ms": str(kafka.chat_retention_ms)}, True),
        TopicDeclaration(
            topics.extraction_windows,
            n,
            {**log, "max.message.bytes": wide_bytes, "retention.ms": str(kafka.windows_retention_ms)},
            True,
        ),
        TopicDeclaration(topics.buffer_changelog, n, compacted, True),
        TopicDeclaration(topics.profile_updated, n, {**changes, "max.message.bytes": wide_bytes}),
        TopicDeclaration(topics.event_updated, n, {**changes, "max.message.bytes": wide_bytes}),
        TopicDeclaration(topics.profiles, n, compacted),
        TopicDeclaration(
            topics.dead_letters,
            n,
            {**log, "max.message.bytes": wide_bytes, "retention.ms": str(kafka.dead_letters_retention_ms)},
        ),
    )


async def ensure_topics(kafka: KafkaSettings, buffer: BufferSettings) -> int:
    """Create what is missing, check what exists, and return the partition count of the co-partitioned topics.

    Raises ConfigurationError that names topics and numbers when counts differ, for Faust would notice only at its first
    table write, lose that record and go on; and when an existing topic would refuse our records or remove them.
    """
    counts = await ensure_declared(kafka, declarations(kafka, buffer))
    return next(iter(counts.values()), kafka.partitions)


async def ensure_declared(kafka: KafkaSettings, declared: Sequence[TopicDeclaration]) -> Mapping[str, int]:
    """The same for any topics; returns the partition counts of those co-partitioned ones that were there before."""
    async with admin(kafka) as client:
        for _ in range(MAX_LOOKS):
            existing = await partition_counts(client, [topic.name for topic in declared])
            # A team may have made chat-messages before us: its own count rules then.
            counts = shared_counts(declared, existing)
            _check_counts(counts)
            await _check_settings(client, [topic for topic in declared if topic.name in existing])
            missing = missing_topics(kafka, declared, existing)
            if not missing or await _create(client, missing):
                return counts
            await asyncio.sleep(LOOK_AGAIN_S)
    raise RetryLater("Kafka: topics exist that the broker does not show yet; start again")


async def check_partitions(kafka: KafkaSettings, buffer: BufferSettings) -> None:
    """Raise ConfigurationError, as `ensure_topics` does, where counts of partitions differ; creates nothing."""
    declared = declarations(kafka, buffer)
    async with admin(kafka) as client:
        _check_counts(shared_counts(declared, await partition_counts(client, [topic.name for topic in declared])))


def missing_topics(
    kafka: KafkaSettings, declared: Iterable[TopicDeclaration], existing: Mapping[str, int]
) -> list[NewTopic]:
    """Requests for the topics that do not exist; the co-partitioned ones get the count that these have already."""
    declared = tuple(declared)
    shared_count = next(iter(shared_counts(declared, existing).values()), kafka.partitions)
    return [
        NewTopic(
            topic.name,
            shared_count if topic.co_partitioned else topic.partitions,
            kafka.replication_factor,
            topic_configs=dict(topic.config),
        )
        for topic in declared
        if topic.name not in existing
    ]


async def refused_creations(client: AIOKafkaAdminClient, topics: list[NewTopic]) -> dict[str, str]:
    """Which of the topics the broker would not let us create, and why; creates none."""
    with translated("asking whether topics may be created"):
        response = await client.create_topics(topics, validate_only=True)
    return {
        name: for_code(code).__name__
        for name, code in (entry[:2] for entry in response.topic_errors)
        if code not in (0, TopicAlreadyExistsError.errno)
    }


def shared_counts(declared: Iterable[TopicDeclaration], existing: Mapping[str, int]) -> dict[str, int]:
    """Partition counts of the existing topics that must all have the same."""
    return {topic.name: existing[topic.name] for topic in declared if topic.co_partitioned and topic.name in existing}


def _check_counts(counts: Mapping[str, int]) -> None:
    if (misfit := differing_counts(counts)) is not None:
        raise ConfigurationError(f"{misfit.found}. {misfit.fix}")


def differing_counts(counts: Mapping[str, int]) -> Misfit | None:
    """What is wrong where co-partitioned topics differ; names topics and numbers."""
    if len(set(counts.values())) < 2:
        return None
    found = ", ".join(f"{name} has {count}" for name, count in sorted(counts.items()))
    return Misfit(
        f"these topics must have the same number of partitions: {found}",
        "Partitions cannot be taken away: choose another kafka.topic_prefix, or recreate the odd one",
    )


async def partition_counts(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    """Partition counts of those topics that exist."""
    with translated("reading topics"):
        existing = await existing_names(client, names)
        described = await client.describe_topics(existing) if existing else []
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}


async def existing_names(client: AIOKafkaAdminClient, names: Iterable[str]) -> list[str]:
    """Those of the topics that exist, in order.

    To describe a topic that is missing would create it on a broker that creates topics by itself.
    """
    return sorted(set(await client.list_topics()).intersection(names))


async def topic_settings(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Settings of existing topics by name; a topic whose settings we may not read is left out."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    if not asked:
        return {}
    with translated("reading the settings of topics"):
        answers = await client.describe_configs(asked)
    resources = [resource for answer in answers for resource in answer.resources if resource[0] == 0]
    return {resource[3]: {entry[0]: entry[1] for entry in resource[4]} for resource in resources}


def misfits(topic: TopicDeclaration, settings: Mapping[str, str]) -> list[Misfit]:
    """Settings under which an existing topic would refuse our records, or remove them; unknown ones fit."""
    found = []
    wanted_bytes = int(topic.config["max.message.bytes"])
    if int(settings.get("max.message.bytes", wanted_bytes)) < wanted_bytes:
        found.append(
            Misfit(
                f"topic {topic.name} takes records of up to {settings['max.message.bytes']} bytes",
                f"set its max.message.bytes to {wanted_bytes} or more (kafka-configs --alter), "
                "or lower buffer.max_blob_bytes",
            )
        )
    policy = topic.config["cleanup.policy"]
    if settings.get("cleanup.policy", policy) != policy:
        found.append(
            Misfit(
                f"topic {topic.name} has the cleanup.policy {settings['cleanup.policy']}, and must have {policy}",
                f"set it with kafka-configs --alter --add-config cleanup.policy={policy}",
            )
        )
    return found


async def _check_settings(client: AIOKafkaAdminClient, existing: Sequence[TopicDeclaration]) -> None:
    found = await topic_settings(client, [topic.name for topic in existing])
    for topic in existing:
        for misfit in misfits(topic, found.get(topic.name, {})):
            raise ConfigurationError(f"{misfit.found}: {misfit.fix}")


async def _create(client: AIOKafkaAdminClient, topics: list[NewTopic]) -> bool:
    """False where somebody was quicker with one of them, so that theirs must be looked at."""
    with translated("creating topics"):
        response = await client.create_topics(topics)
    codes = set()
    for name, code, message in (entry[:3] for entry in response.topic_errors):
        codes.add(code)
        if code in (0, TopicAlreadyExistsError.errno):
            continue
        error = for_code(code)
        # A controller that has just been elected, or is about to be.
        if error.retriable:
            raise RetryLater(f"Kafka: topic {name} cannot be created now: {error.__name__}: {message}")
        raise ConfigurationError(f"topic {name} cannot be created: {error.__name__}: {message}")
    return TopicAlreadyExistsError.errno not in codes


def partition_for(key: bytes, partitions: int) -> int:
    """The partition that Java clients choose for a key; librdkafka's default differs."""
    return (cast(int, murmur2(key)) & 0x7FFFFFFF) % partitions
