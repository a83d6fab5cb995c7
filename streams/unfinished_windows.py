"""Windows of one user that the extraction agent has not finished, read from `extraction-windows` itself."""

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.errors import RetryLater
from schemas.settings import KafkaSettings
from schemas.windows import Window, decode_window
from streams.clients import admin, consumer, translated
from streams.topics import Topics, partition_counts, partition_for

POLL_MS: Final = 200
BATCH_RECORDS: Final = 500


async def read_unfinished(
    kafka: KafkaSettings, project_id: str, user_id: str, *, timeout_s: float
) -> tuple[Window, ...]:
    """Those of the user's windows that lie at or after the group's committed offset, in their order.

    Some may be finished already, or held. Raises RetryLater where the broker is away, or all that waits for extraction
    on the user's partition is too much to be read in time.
    """
    topics = Topics(kafka.topic_prefix)
    key = user_id.encode()
    try:
        async with asyncio.timeout(timeout_s):
            async with admin(kafka) as client:
                counts = await partition_counts(client, [topics.extraction_windows])
                if topics.extraction_windows not in counts:
                    return ()
                place = TopicPartition(topics.extraction_windows, partition_for(key, counts[topics.extraction_windows]))
                with translated("reading committed offsets"):
                    committed = (await client.list_consumer_group_offsets(topics.extraction_group)).get(place)
            async with consumer(kafka) as reader:
                found = await _read(reader, place, 0 if committed is None else committed.offset, key)
    except TimeoutError:
        raise RetryLater("Kafka: what waits for extraction could not be read in time") from None
    return tuple(window for window in found if (window.project_id, window.user_id) == (project_id, user_id))


async def _read(reader: AIOKafkaConsumer, place: TopicPartition, begin: int, key: bytes) -> list[Window]:
    with translated("reading offsets"):
        first = (await reader.beginning_offsets([place]))[place]
        end = (await reader.end_offsets([place]))[place]
    found: list[Window] = []
    reader.assign([place])
    reader.seek(place, max(first, begin))
    while await reader.position(place) < end:
        with translated("reading windows"):
            fetched = await reader.getmany(place, timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
        for record in fetched.get(place, ()):
            if record.key == key:
                window = decode_window(record.value)
                if isinstance(window, Window):
                    found.append(window)
    return found
