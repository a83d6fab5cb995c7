"""Reads brokers, topics and groups as they are, and changes nothing; for diagnosis only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.clients import translated
from streams.topics import existing_names

# The start of the client id that Faust gives to its consumers.
OUR_CLIENT: Final = "faust"


@dataclass(frozen=True, slots=True)
class TopicLayout:
    """A topic's partitions: how many, on how many brokers the least copied one is, and which have no leader."""

    partitions: int
    copies: int
    leaderless: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a consumer group."""

    client_id: str
    host: str

    @property
    def is_ours(self) -> bool:
        return self.client_id.startswith(OUR_CLIENT)


@dataclass(frozen=True, slots=True)
class RecordTime:
    """A record's place in its partition, and its time in ms."""

    offset: int
    timestamp_ms: int


async def read_layouts(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, TopicLayout]:
    """Layouts of those topics that exist."""
    with translated("reading topics"):
        existing = await existing_names(client, names)
        described = await client.describe_topics(existing) if existing else []
    return {
        topic["topic"]: TopicLayout(
            partitions=len(topic["partitions"]),
            copies=min((len(partition["replicas"]) for partition in topic["partitions"]), default=0),
            leaderless=tuple(
                sorted(partition["partition"] for partition in topic["partitions"] if partition["leader"] < 0)
            ),
        )
        for topic in described
        if topic["error_code"] == 0
    }


async def read_broker_settings(client: AIOKafkaAdminClient) -> dict[int, dict[str, str]]:
    """Settings of each broker; one whose settings we may not read is left out."""
    with translated("reading the settings of brokers"):
        brokers = (await client.describe_cluster())["brokers"]
        asked = [ConfigResource(ConfigResourceType.BROKER, str(broker["node_id"])) for broker in brokers]
        answers = await client.describe_configs(asked)
    resources = [resource for answer in answers for resource in answer.resources if resource[0] == 0]
    return {int(resource[3]): {entry[0]: entry[1] for entry in resource[4]} for resource in resources}


async def read_groups(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, list[Member]]:
    """The members now of those groups that exist: with members, or with offsets that they have committed.

    To ask for a group that does not exist would make a new broker create the topic of offsets.
    """
    with translated("reading consumer groups"):
        existing = {group[0] for group in await client.list_consumer_groups()}.intersection(names)
        # One group a call: aiokafka cannot read an answer that holds several.
        answers = {group: await client.describe_consumer_groups([group]) for group in sorted(existing)}
    return {
        group: [Member(client_id=member[1], host=member[2].lstrip("/")) for member in answer[0].groups[0][5]]
        for group, answer in answers.items()
    }


async def first_after(
    client: AIOKafkaConsumer, partitions: Mapping[str, int], after_ms: int
) -> dict[TopicPartition, RecordTime]:
    """The first record of each partition that is this late or later, of the partitions that have one.

    `partitions` says how many each topic has. Times are those of the records: their producers' clocks, unless the topic
    has the broker write them.
    """
    places = {TopicPartition(topic, number): after_ms for topic, count in partitions.items() for number in range(count)}
    with translated("looking up records by time"):
        found = await client.offsets_for_times(places)
    return {place: RecordTime(at.offset, at.timestamp) for place, at in found.items() if at is not None}
