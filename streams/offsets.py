"""Where partitions end."""

from collections.abc import Mapping

from aiokafka import TopicPartition

from schemas.settings import KafkaSettings
from streams.clients import consumer, translated


async def end_offsets(kafka: KafkaSettings, *topics: str) -> Mapping[tuple[str, int], int]:
    """The next offset of every partition of some topics, as of now; raises RetryLater while the broker is away."""
    async with consumer(kafka, *topics) as reader:
        with translated("reading end offsets"):
            partitions = [
                TopicPartition(topic, number) for topic in topics for number in reader.partitions_for_topic(topic) or ()
            ]
            ends = await reader.end_offsets(partitions)
    return {(place.topic, place.partition): end for place, end in ends.items()}
