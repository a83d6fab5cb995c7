"""The topics of `ingest.sources` on the broker: that they are there, and that none of them is ours."""

from collections.abc import Iterable, Mapping

from schemas.errors import ConfigurationError
from schemas.mapping import IngestSource
from schemas.settings import KafkaSettings, Settings
from streams.clients import admin
from streams.topics import declarations, partition_counts


def check_sources(settings: Settings) -> None:
    """Raises ConfigurationError for a source that we write ourselves: its records would go round for ever."""
    own = {topic.name for topic in declarations(settings.kafka, settings.buffer)}
    for source in settings.ingest.sources:
        if source.topic in own:
            raise ConfigurationError(
                f"ingest.sources: {source.topic} is a topic of memostream's own, and what is ingested would come back "
                "to it; name another topic, or another kafka.topic_prefix"
            )


async def source_partitions(kafka: KafkaSettings, sources: Iterable[IngestSource]) -> Mapping[str, int]:
    """Partition counts of the sources; raises ConfigurationError that names those that do not exist.

    They are never created: a topic of the wrong name would stay empty, and nobody would notice.
    """
    topics = [source.topic for source in sources]
    if not topics:
        return {}
    async with admin(kafka) as client:
        counts = await partition_counts(client, topics)
    missing = [topic for topic in topics if topic not in counts]
    if missing:
        raise ConfigurationError(
            f"ingest.sources: there is no topic {', '.join(missing)} on this broker; is the name right, and may we "
            "see it? Create it first if its producer has not begun yet"
        )
    return counts
