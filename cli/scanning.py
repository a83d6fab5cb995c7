"""Reading ranges of topics once, in bounded batches; committed records only."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.errors import ConfigurationError, RetryLater
from schemas.settings import KafkaSettings
from streams.clients import admin, consumer, translated
from streams.topics import partition_counts

BATCH_RECORDS: Final = 1000
POLL_MS: Final = 100
# Nobody waits for new records here, and the next question waits behind a fetch that finds none.
FETCH_WAIT_MS: Final = 20
RETRY_S: Final = 0.2
# Between looks at offsets, which nobody notifies us of.
OFFSETS_POLL_S: Final = 0.25
# Fewer are read to be counted.
COUNTED_RECORDS: Final = 500
# A broker that makes no progress for so long has gone away.
SILENCE_S: Final = 15.0

Offsets = Mapping[int, int]


class TopicScanner:
    """Reads ranges of topics and offsets of groups over one connection each."""

    def __init__(
        self, client: AIOKafkaConsumer, admin_client: AIOKafkaAdminClient, uncommitted: AIOKafkaConsumer
    ) -> None:
        self._client = client
        self._admin = admin_client
        self._uncommitted = uncommitted

    async def bounds(self, topic: str) -> tuple[dict[int, int], dict[int, int]]:
        """First offset and next offset of each partition, the latter without what open transactions hide.

        Raises ConfigurationError if there is no such topic.
        """
        count = (await partition_counts(self._admin, [topic])).get(topic)
        if count is None:
            raise ConfigurationError(
                f"there is no topic {topic} on this broker; is kafka.topic_prefix right, and did a worker run?"
            )
        partitions = [TopicPartition(topic, number) for number in range(count)]
        with translated(f"reading the offsets of {topic}"):
            first = await self._client.beginning_offsets(partitions)
            last = await self._client.end_offsets(partitions)
        return {p.partition: first[p] for p in partitions}, {p.partition: last[p] for p in partitions}

    async def written(self, topic: str) -> dict[int, int]:
        """Next offset of each partition with what open transactions hide: `scan` up to it waits for their end."""
        _, end = await self.bounds(topic)
        with translated(f"reading the offsets of {topic}"):
            ends = await self._uncommitted.end_offsets([TopicPartition(topic, number) for number in end])
        return {position.partition: offset for position, offset in ends.items()}

    async def at_time(self, topic: str, time_ms: int) -> dict[int, int]:
        """Offset of each partition's first record that is not older, its next offset where there is none."""
        first, end = await self.bounds(topic)
        with translated(f"reading the offsets of {topic}"):
            found = await self._client.offsets_for_times({TopicPartition(topic, number): time_ms for number in first})
        return {
            position.partition: end[position.partition] if at is None else at.offset for position, at in found.items()
        }

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """Next offsets that the group has committed, of the partitions that have any.

        Waits for the group's coordinator, which a new broker has to elect first.
        """
        deadline = time.monotonic() + SILENCE_S
        while True:
            try:
                with translated(f"reading the offsets of group {group}"):
                    offsets = await self._admin.list_consumer_group_offsets(group)
                return {tp.partition: at.offset for tp, at in offsets.items() if tp.topic == topic and at.offset >= 0}
            except RetryLater:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(RETRY_S)

    async def scan(
        self, topic: str, first: Offsets, end: Offsets, silence_s: float = SILENCE_S
    ) -> AsyncIterator[Sequence[Any]]:
        """Batches of aiokafka records with `first <= offset < end`, each of one partition and in its order.

        Raises RetryLater when the broker stops answering, or a transaction is open, for `silence_s`.
        """
        left = {TopicPartition(topic, p): stop for p, stop in end.items() if first.get(p, 0) < stop}
        if not left:
            return
        self._client.assign(list(left))
        for position in left:
            self._client.seek(position, first.get(position.partition, 0))
        last_progress = time.monotonic()
        while left:
            before = {position: await self._client.position(position) for position in left}
            with translated(f"reading {topic}"):
                fetched = await self._client.getmany(*left, timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
            for position, records in fetched.items():
                wanted = [record for record in records if record.offset < left[position]]
                if wanted:
                    yield wanted
            # Transaction markers take offsets, too, and are never returned.
            after = {position: await self._client.position(position) for position in left}
            for position, offset in after.items():
                if offset >= left[position]:
                    del left[position]
                    self._client.pause(position)
            if before != after:
                last_progress = time.monotonic()
            elif time.monotonic() - last_progress > silence_s:
                raise RetryLater(f"Kafka: no answer while reading {topic}")

    async def behind(self, group: str, topic: str, end: Offsets) -> int:
        """How many records the group has not finished below `end`; counted as `count` does.

        Offsets alone do not tell: a transaction marker takes one, and nobody commits it.
        """
        first, _ = await self.bounds(topic)
        committed = await self.committed(group, topic)
        begin = {partition: max(committed.get(partition, 0), start) for partition, start in first.items()}
        return await self.count(topic, begin, end)

    async def caught_up(self, group: str, topic: str, tell: Callable[[int], object] = lambda _: None) -> None:
        """Wait until the group has finished what the topic holds now; `tell` hears how many records are left."""
        _, end = await self.bounds(topic)
        while left := await self.behind(group, topic, end):
            tell(left)
            await asyncio.sleep(OFFSETS_POLL_S)

    async def count(self, topic: str, begin: Offsets, end: Offsets) -> int:
        """How many records `begin <= offset < end` holds; of many an estimate, but 0 only if there is none."""
        distance = sum(max(0, stop - begin.get(partition, 0)) for partition, stop in end.items())
        if distance > COUNTED_RECORDS:
            return distance
        count = 0
        async for records in self.scan(topic, begin, end):
            count += len(records)
        return count


@asynccontextmanager
async def topic_scanner(kafka: KafkaSettings) -> AsyncIterator[TopicScanner]:
    """A scanner whose clients are closed on leaving; raises RetryLater if the broker is away."""
    async with (
        admin(kafka) as admin_client,
        consumer(kafka, fetch_max_wait_ms=FETCH_WAIT_MS) as client,
        consumer(kafka, isolation_level="read_uncommitted") as uncommitted,
    ):
        yield TopicScanner(client, admin_client, uncommitted)
