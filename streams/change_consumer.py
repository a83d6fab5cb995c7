"""A consumer of the change topics without a group: reads committed records from given positions."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from schemas.change_feed import CHANGE_TOPICS, ChangeTopic, PositionGone
from schemas.errors import RetryLater
from schemas.settings import KafkaSettings
from streams.change_cursor import Place, Positions
from streams.change_records import ChangeRecord, read_change
from streams.clients import admin, consumer, translated
from streams.topics import Topics, partition_counts

# For what asks the broker once; aiokafka's own limits are longer, and some calls of its have none.
TIMEOUT_S: Final = 10.0
# Of a partition, of everything: what one consumer holds at most, single records that are larger aside.
PARTITION_FETCH_BYTES: Final = 128 * 1024
FETCH_BYTES: Final = 4 << 20
# Partitions that are added are seen this late.
METADATA_MAX_AGE_MS = 60_000


class ChangeConsumer:
    """Use `change_consumer`, which makes a started one."""

    def __init__(self, client: AIOKafkaConsumer, topics: Topics, counts: Mapping[ChangeTopic, int]) -> None:
        self._client = client
        self._names = _full_names(topics)
        self._counts = counts
        self._partitions: dict[Place, TopicPartition] = {
            (topic, number): TopicPartition(self._names[topic], number)
            for topic in CHANGE_TOPICS
            for number in range(counts[topic])
        }
        self._places = {partition: place for place, partition in self._partitions.items()}

    async def bounds(self) -> tuple[Positions, Positions]:
        """The first and the next offset of every partition; what open transactions hide counts as not there yet."""
        partitions = list(self._places)
        with translated("reading offsets of changes"):
            async with asyncio.timeout(TIMEOUT_S):
                first, end = await asyncio.gather(
                    self._client.beginning_offsets(partitions), self._client.end_offsets(partitions)
                )
        return self._named(first), self._named(end)

    def begin(self, positions: Mapping[Place, int]) -> None:
        """Read from here on; every partition needs a position."""
        self._client.assign(list(self._places))
        for place, partition in self._partitions.items():
            self._client.seek(partition, positions[place])

    async def fetch(self, max_records: int, timeout_ms: int) -> tuple[list[ChangeRecord], Positions]:
        """Some changes, each partition's in order, and up to where everything was read; may be none.

        Raises PositionGone where the topic does not hold what comes next.
        """
        with translated("reading changes"):
            try:
                fetched = await self._client.getmany(timeout_ms=timeout_ms, max_records=max_records)
                # Beyond records that were aborted, and the marks of transactions.
                positions = {
                    place: await self._client.position(partition) for place, partition in self._partitions.items()
                }
            except OffsetOutOfRangeError as error:
                raise PositionGone("changes after this position are not on their topic any more") from error
        read = (
            read_change(self._places[at], record.offset, record.timestamp, record.key, record.value, record.headers)
            for at, records in fetched.items()
            for record in records
        )
        return [record for record in read if record is not None], positions

    def _named(self, offsets: Mapping[TopicPartition, int]) -> Positions:
        return {self._places[partition]: offset for partition, offset in offsets.items()}

    @property
    def is_outgrown(self) -> bool:
        """Whether a topic has got more partitions than this consumer reads."""
        found = {topic: self._client.partitions_for_topic(name) for topic, name in self._names.items()}
        return any(len(numbers or ()) > self._counts[topic] for topic, numbers in found.items())


@asynccontextmanager
async def change_consumer(kafka: KafkaSettings) -> AsyncIterator[ChangeConsumer]:
    """Reads nothing until it is told where to begin; raises RetryLater where the broker or a topic is away."""
    topics = Topics(kafka.topic_prefix)
    names = _full_names(topics)
    with translated("looking at the change topics"):
        async with asyncio.timeout(TIMEOUT_S), admin(kafka) as client:
            found = await partition_counts(client, names.values())
    if missing := sorted(set(names.values()) - found.keys()):
        raise RetryLater(f"Kafka: there is no topic {', '.join(missing)} yet; a worker makes it when it starts")
    options = {
        # A position that is gone must be seen, and not replaced by another.
        "auto_offset_reset": "none",
        "max_partition_fetch_bytes": PARTITION_FETCH_BYTES,
        "fetch_max_bytes": FETCH_BYTES,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
    }
    async with consumer(kafka, **options) as reader:
        yield ChangeConsumer(reader, topics, {topic: found[name] for topic, name in names.items()})


def _full_names(topics: Topics) -> dict[ChangeTopic, str]:
    return {
        "profile-updated": topics.profile_updated,
        "event-updated": topics.event_updated,
        "profiles": topics.profiles,
    }
