"""What waits for extraction is read from its topic: from the committed offset on, of one user, in bounded time."""

from collections.abc import Sequence

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from schemas.errors import RetryLater
from schemas.settings import KafkaSettings
from schemas.windows import Window
from streams.clients import admin, new_consumer, producer
from streams.topics import Topics, partition_for
from streams.unfinished_windows import read_unfinished
from tests.integration.storage.builders import unit, window

PARTITIONS = 2
DEADLINE_S = 90.0


@pytest.fixture
async def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaSettings:
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix)
    async with admin(settings) as client:
        await client.create_topics([NewTopic(Topics(topic_prefix).extraction_windows, PARTITIONS, 1)])
    return settings


async def send(kafka: KafkaSettings, windows: Sequence[Window]) -> None:
    async with producer(kafka, transactional_id=f"{kafka.topic_prefix}test") as client, client.transaction():
        for one in windows:
            key = one.user_id.encode()
            value = orjson.dumps(one.model_dump(mode="json", exclude_none=True))
            topic = Topics(kafka.topic_prefix).extraction_windows
            await client.send(topic, value, key, partition_for(key, PARTITIONS))


async def commit(kafka: KafkaSettings, user_id: str, offset: int) -> None:
    """As the extraction agent does when all before it is finished."""
    topics = Topics(kafka.topic_prefix)
    place = TopicPartition(topics.extraction_windows, partition_for(user_id.encode(), PARTITIONS))
    client: AIOKafkaConsumer = new_consumer(kafka, group_id=topics.extraction_group)
    await client.start()
    try:
        client.assign([place])
        await client.commit({place: offset})
    finally:
        await client.stop()


async def unfinished(kafka: KafkaSettings, user_id: str, project_id: str = "default") -> list[str]:
    found = await read_unfinished(kafka, project_id, user_id, timeout_s=DEADLINE_S)
    return [one.blob_id for each in found for one in each.units]


async def test_windows_of_the_user_are_read_from_the_committed_offset_on(kafka: KafkaSettings) -> None:
    of_ann = [window(unit(f"b{number}", number)) for number in range(3)]
    of_others = [window(unit("x"), user_id="bob"), window(unit("y"), project_id="other")]
    await send(kafka, [*of_ann[:1], *of_others, *of_ann[1:]])
    # Also lets the broker make its topic of offsets.
    await commit(kafka, "ann", 0)
    assert await unfinished(kafka, "ann") == ["b0", "b1", "b2"]
    assert await unfinished(kafka, "ann", "other") == ["y"]
    assert await unfinished(kafka, "carl") == []
    await commit(kafka, "ann", 1)
    assert await unfinished(kafka, "ann") == ["b1", "b2"]


async def test_without_the_topic_nothing_waits(kafka_bootstrap: str) -> None:
    nowhere = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix="not-there-")
    assert await unfinished(nowhere, "ann") == []


async def test_a_broker_that_is_away_is_no_false_no() -> None:
    away = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(RetryLater):
        await read_unfinished(away, "default", "ann", timeout_s=DEADLINE_S)
