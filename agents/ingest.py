"""The ingest agent: maps every record of the source topics once."""

from collections.abc import Callable, Mapping

from agents.owning import create_owning_app
from schemas.settings import Settings
from streams.faust_app import FaustApp
from streams.ingest_owner import IngestOwnerFactory
from streams.ownership import PartitionOwners
from streams.stage_metrics import StageMetrics
from streams.stopping import FAREWELL_S
from streams.topics import Topics


def create_ingest_app(
    settings: Settings,
    partition_counts: Mapping[str, int],
    on_fatal: Callable[[BaseException], None],
    metrics: StageMetrics | None = None,
) -> FaustApp:
    """The Faust app of the ingest role, not started; `partition_counts` are those of the sources, which exist."""
    factory = IngestOwnerFactory(settings.kafka, settings.buffer, settings.ingest.sources, on_fatal, metrics)
    return create_owning_app(
        Topics(settings.kafka.topic_prefix).ingest_group,
        settings.kafka,
        partition_counts,
        PartitionOwners(factory, FAREWELL_S),
        on_fatal,
        # New partitions of a source are noticed so soon; those of our own topics never change.
        consumer_metadata_max_age_ms=int(settings.worker.metadata_refresh_s * 1000),
    )
