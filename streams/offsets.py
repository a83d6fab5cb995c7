"""Where partitions end."""

from collections.abc import Mapping

from aiokafka import TopicPartition

from schemas.settings import KafkaSettings
from streams.clients import admin, consumer, translated
from streams.topics import partition_counts


async def end_offsets(kafka: KafkaSettings, *topics: str) -> Mapping[tuple[str, int], int]:
    """The next offset of every partition of those topics that exist; raises RetryLater while the broker is away.

    What open transactions hide lies before them, too: it was sent before now, whenever it can be read.
    """
    async with admin(kafka) as client:
        counts = await partition_counts(client, topics)
    if not counts:
        return {}
    async with consumer(kafka, isolation_level="read_uncommitted") as reader:
        with translated("reading end offsets"):
            ends = await reader.end_offsets(
                [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
            )
    return {(place.topic, place.partition): end for place, end in ends.items()}
