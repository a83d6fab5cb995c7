"""A `chat-messages` that several measurements read, each as if it were the first."""

import asyncio
from collections.abc import Iterable
from typing import Final

from aiokafka import TopicPartition

from schemas.settings import BufferSettings, KafkaSettings
from streams.clients import admin, consumer, producer
from streams.topics import Topics, declarations, ensure_topics

LOOK_AGAIN_S: Final = 0.1


async def fill(kafka: KafkaSettings, buffer: BufferSettings, records: Iterable[tuple[bytes, bytes]]) -> int:
    """Create the topics, send all records, and return how many bytes their values have."""
    await ensure_topics(kafka, buffer)
    size_bytes = 0
    topic = Topics(kafka.topic_prefix).chat_messages
    async with producer(kafka, linger_ms=20) as client:
        for key, value in records:
            await client.send(topic, value, key=key)
            size_bytes += len(value)
    return size_bytes


async def rewind(kafka: KafkaSettings, buffer: BufferSettings) -> None:
    """Forget that `chat-messages` was ever read: all other topics are made anew, and its offsets are zero again."""
    topics = Topics(kafka.topic_prefix)
    others = {topic.name for topic in declarations(kafka, buffer)} - {topics.chat_messages}
    async with admin(kafka) as client:
        await client.delete_topics(sorted(others))
        while others & set(await client.list_topics()):
            await asyncio.sleep(LOOK_AGAIN_S)
    await ensure_topics(kafka, buffer)
    places = [TopicPartition(topics.chat_messages, partition) for partition in range(kafka.partitions)]
    async with consumer(kafka, group_id=topics.buffer_group) as reader:
        reader.assign(places)
        await reader.commit(dict.fromkeys(places, 0))


async def size_of(kafka: KafkaSettings, topic: str) -> int:
    """Bytes of the keys and values in a topic, without what Kafka adds to each batch."""
    size_bytes = 0
    async with consumer(kafka, topic) as reader:
        ends = await reader.end_offsets(reader.assignment())
        while [place for place in ends if await reader.position(place) < ends[place]]:
            for records in (await reader.getmany(timeout_ms=200)).values():
                size_bytes += sum(len(record.key) + len(record.value or b"") for record in records)
    return size_bytes
