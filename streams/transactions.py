"""A transactional producer that writes whole batches, and reports where the last changelog record went."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    UnknownProducerId,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from schemas.errors import RetryLater
from schemas.headers import Headers
from schemas.settings import KafkaSettings
from streams.clients import new_producer, retrieved, stop_client, translated
from streams.raw_records import Outgoing
from streams.topics import Topics, partition_for

BatchRecord = tuple[bytes | None, bytes | None, Headers]
NO_CHANGES: Final[Mapping[bytes, bytes | None]] = {}


class PartitionTransactions:
    """The transactions of one partition of an input topic, with one changelog partition where the stage has state.

    Opening fences every earlier producer of this partition and settles its open transaction: do it after the
    assignment, before state is loaded and before the committed offset is read.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Topics,
        source: TopicPartition,
        group: str,
        transactional_id: str,
        changelog: TopicPartition | None = None,
    ) -> None:
        self._timeout_s = settings.transaction_timeout_s
        self._topics = topics
        self._source = source
        self._group = group
        self._changelog = changelog
        self._partition_counts: dict[str, int] = {}
        self._producer: AIOKafkaProducer = new_producer(settings, transactional_id=transactional_id)

    async def open(self) -> None:
        with translated("opening a transactional producer"):
            async with asyncio.timeout(self._timeout_s):
                await self._producer.start()
                for name in (self._topics.chat_messages, self._topics.dead_letters):
                    self._partition_counts[name] = len(await self._producer.partitions_for(name))

    async def close(self) -> None:
        """Stop the producer; a transaction still open is aborted by the broker or by the next owner."""
        await stop_client(self._producer)

    async def commit(
        self,
        outgoing: Iterable[Outgoing],
        next_offset: int | None,
        changelog: Mapping[bytes, bytes | None] = NO_CHANGES,
    ) -> int | None:
        """Send records, changelog and the consumer's next offset as one transaction.

        Returns the changelog's next offset, None if `changelog` is empty. Raises LeaseLost when a newer producer has
        taken over, RetryLater when the outcome is unknown: the state must then be loaded again. It is after
        `kafka.transaction_timeout_s`, too, when the broker has given the transaction up.
        """
        with translated("committing a batch"), failed_transactions():
            async with asyncio.timeout(self._timeout_s):
                await self._producer.begin_transaction()
                sent = []
                for (topic, partition), records in self._grouped(outgoing).items():
                    sent += await self._send(topic, partition, records)
                written = []
                if self._changelog is not None:
                    changelog_records: list[BatchRecord] = [(key, value, ()) for key, value in changelog.items()]
                    written = await self._send(self._changelog.topic, self._changelog.partition, changelog_records)
                if next_offset is not None:
                    await self._producer.send_offsets_to_transaction({self._source: next_offset}, self._group)
                await _all_delivered([*sent, *written])
                await self._producer.commit_transaction()
            return written[-1].delivered.result().offset + written[-1].record_count if written else None

    def _grouped(self, outgoing: Iterable[Outgoing]) -> Mapping[tuple[str, int], list[BatchRecord]]:
        groups: defaultdict[tuple[str, int], list[BatchRecord]] = defaultdict(list)
        for record in outgoing:
            topic: str = getattr(self._topics, record.destination)
            partition = record.partition
            if partition is None:
                count = self._partition_counts[topic]
                partition = self._source.partition % count if record.key is None else partition_for(record.key, count)
            groups[topic, partition].append((record.key, record.value, record.headers))
        return groups

    async def _send(self, topic: str, partition: int, records: Sequence[BatchRecord]) -> list["_SentBatch"]:
        sent = []
        batch = self._producer.create_batch()
        for record in records:
            if not _append(batch, record):
                sent.append(await self._send_batch(batch, topic, partition))
                batch = self._producer.create_batch()
                _append(batch, record)
        if batch.record_count():
            sent.append(await self._send_batch(batch, topic, partition))
        return sent

    async def _send_batch(self, batch: BatchBuilder, topic: str, partition: int) -> "_SentBatch":
        batch.close()
        delivery = await self._producer.send_batch(batch, topic, partition=partition)
        # A later batch may fail before anyone waits for this one.
        return _SentBatch(retrieved(delivery), batch.record_count())


@contextmanager
def failed_transactions() -> Iterator[None]:
    """What a transaction leaves behind that failed between two calls: RetryLater, for a new producer cures it."""
    try:
        yield
    except InvalidProducerEpoch as error:
        raise ProducerFenced from error
    # aiokafka asserts its own states; a broker that has just begun to lead may not know the producer's last batch.
    except (
        InvalidProducerIdMapping,
        InvalidTxnState,
        OutOfOrderSequenceNumber,
        UnknownProducerId,
        IllegalOperation,
        AssertionError,
    ) as error:
        raise RetryLater(f"Kafka: the transaction failed ({type(error).__name__})") from error


@dataclass(frozen=True, slots=True)
class _SentBatch:
    delivered: "asyncio.Future[RecordMetadata]"
    record_count: int


async def _all_delivered(batches: Sequence[_SentBatch]) -> None:
    """A batch that failed does not always fail aiokafka's transaction, so each is looked at before the commit."""
    if batches:
        await asyncio.wait([batch.delivered for batch in batches])
        for error in [batch.delivered.exception() for batch in batches]:
            if error is not None:
                raise error


def _append(batch: BatchBuilder, record: BatchRecord) -> bool:
    key, value, headers = record
    return batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is not None
