"""The ingest agent: maps every record of the source topics once."""

from collections.abc import Callable, Collection, Mapping

from agents.owning import create_owning_app
from schemas.mapping import IngestSource
from schemas.settings import BufferSettings, KafkaSettings
from streams.faust_app import FaustApp
from streams.ingest_owner import IngestOwnerFactory
from streams.ownership import PartitionOwners
from streams.topics import Topics


def create_ingest_app(
    kafka: KafkaSettings,
    buffer: BufferSettings,
    sources: Collection[IngestSource],
    partition_counts: Mapping[str, int],
    metadata_refresh_s: float,
    on_fatal: Callable[[BaseException], None],
) -> FaustApp:
    """The Faust app of the ingest role, not started; a new partition of a source is noticed after a refresh."""
    owners = PartitionOwners(IngestOwnerFactory(kafka, buffer, sources, on_fatal), kafka.session_timeout_s)
    return create_owning_app(
        Topics(kafka.topic_prefix).ingest_group,
        kafka,
        {source.topic: partition_counts[source.topic] for source in sources},
        owners,
        on_fatal,
        consumer_metadata_max_age_ms=int(metadata_refresh_s * 1000),
    )
