"""Sends prepared records to `chat-messages`: idempotent, on the right partition, with a bounded number in flight."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from cli.progress import shown
from schemas.settings import Settings
from streams.clients import producer, retrieved, translated
from streams.topics import Topics, ensure_topics, partition_for

MAX_IN_FLIGHT: Final = 5000
LINGER_MS: Final = 5


class RecordSender:
    """One producer, so that the records of a user keep their order; `acknowledged` of the first records are on the log.

    The Kafka timestamp is the time of sending: by an older one, retention would delete a backfill before it is read.
    """

    def __init__(self, client: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._client = client
        self._topic = topic
        self._partitions = partitions
        self._in_flight: deque[asyncio.Future[RecordMetadata]] = deque()
        self.acknowledged = 0

    async def send(self, key: bytes, value: bytes) -> None:
        """The key is the user id. Raises RetryLater if the broker is away, as for an earlier record."""
        with translated("sending"):
            partition = partition_for(key, self._partitions)
            delivery = await self._client.send(self._topic, key=key, value=value, partition=partition)
            self._in_flight.append(retrieved(delivery))
            while self._in_flight and (len(self._in_flight) >= MAX_IN_FLIGHT or self._in_flight[0].done()):
                await self._oldest()

    async def settle(self) -> None:
        """Wait until all that was sent is acknowledged; raises RetryLater if the broker is away."""
        with translated("sending"):
            while self._in_flight:
                await self._oldest()

    async def _oldest(self) -> None:
        await self._in_flight[0]
        self._in_flight.popleft()
        self.acknowledged += 1


@asynccontextmanager
async def record_sender(settings: Settings) -> AsyncIterator[RecordSender]:
    """A sender for the configured broker, whose topics are created where they are missing."""
    partitions = await ensure_topics(settings.kafka, settings.buffer)
    topic = Topics(settings.kafka.topic_prefix).chat_messages
    async with producer(settings.kafka, linger_ms=LINGER_MS) as client:
        yield RecordSender(client, topic, partitions)


@contextmanager
def progress_bar(total_bytes: int | None, *, quiet: bool) -> Iterator[tuple[Progress, TaskID]]:
    """A bar of bytes that were read, and the field `sent`, in records."""
    with shown(TextColumn("sending"), BarColumn(), TextColumn("{task.fields[sent]} records"), quiet=quiet) as bar:
        yield bar, bar.add_task("sending", total=total_bytes, sent=0)
