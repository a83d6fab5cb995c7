"""A partition of a source topic that this worker owns: its records are mapped and sent with its offset."""

from collections.abc import Collection, Mapping

import structlog
from aiokafka import TopicPartition

from schemas.mapping import IngestSource
from schemas.mapping_fields import compile_source
from schemas.metrics import NO_METRICS
from schemas.settings import BufferSettings, KafkaSettings
from schemas.tracing import consuming
from streams.ingest_records import IngestContext, ingest
from streams.partition_owner import OnFatal, OnLost, PartitionOwner
from streams.raw_records import Effects, RawRecord
from streams.stage_metrics import StageMetrics
from streams.topics import Topics
from streams.transactions import PartitionTransactions

log = structlog.get_logger()


class IngestOwner(PartitionOwner):
    """Has no state: what a record becomes depends on nothing but the record."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: BufferSettings,
        place: TopicPartition,
        context: IngestContext,
        on_lost: OnLost,
        on_fatal: OnFatal,
        metrics: StageMetrics,
    ) -> None:
        identifier = Topics(kafka.topic_prefix).ingest_transactional_id(*place)
        transactions = PartitionTransactions(kafka, Topics(kafka.topic_prefix), place, context.group, identifier)
        super().__init__(place, settings, transactions, on_lost, on_fatal)
        self._context = context
        self._metrics = metrics
        self._about = consuming(place.topic, place.partition, context.group)

    async def open(self) -> None:
        await super().open()
        log.info("ingest.partition_opened", topic=self.place.topic, partition=self.place.partition)

    def _decide(self, record: RawRecord, effects: Effects) -> None:
        ingest(record, self._context, effects)

    async def _commit(self, effects: Effects, next_offset: int | None) -> None:
        with self._metrics.transaction(effects.counts, self._about, effects.traces):
            await self._transactions.commit(effects.outgoing, next_offset)
        log.debug("ingest.committed", topic=self.place.topic, partition=self.place.partition, **effects.counts)

    async def _check(self, now_ms: int) -> None:
        """Nothing is done without a record."""


class IngestOwnerFactory:
    """Owners for the partitions of all sources."""

    def __init__(
        self,
        kafka: KafkaSettings,
        buffer: BufferSettings,
        sources: Collection[IngestSource],
        on_fatal: OnFatal,
        metrics: StageMetrics | None = None,
    ) -> None:
        self._kafka = kafka
        self._buffer = buffer
        self._on_fatal = on_fatal
        self._metrics = metrics or StageMetrics(NO_METRICS, "ingest")
        group = Topics(kafka.topic_prefix).ingest_group
        self._contexts: Mapping[str, IngestContext] = {
            source.topic: IngestContext(compile_source(source), group, buffer.max_blob_bytes) for source in sources
        }

    def keep_only(self, places: Collection[TopicPartition]) -> None:
        """Nothing is kept."""

    def new_owner(self, place: TopicPartition, on_lost: OnLost) -> IngestOwner:
        context = self._contexts[place.topic]
        return IngestOwner(self._kafka, self._buffer, place, context, on_lost, self._on_fatal, self._metrics)

    def close(self) -> None:
        """Nothing is shared."""
