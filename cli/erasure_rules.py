"""When topics have let go of a user, and what is not ours to erase. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from schemas.erasure import CompactedTopic, Elsewhere, RetainedTopic
from schemas.settings import Settings
from streams.topics import Topics

# What a broker takes to look at its segments (log.retention.check.interval.ms, log.cleaner.backoff.ms) and to delete
# files (file.delete.delay.ms), by default.
BROKER_MS: Final = 6 * 60 * 1000
# Kafka's own, where a topic does not say.
SEGMENT_MS: Final = 7 * 24 * 3600 * 1000
DELETE_RETENTION_MS: Final = 24 * 3600 * 1000
# As Kafka says that there is none; a calendar ends before.
MAX_MS: Final = 100 * 365 * 24 * 3600 * 1000

TopicConfig = Mapping[str, str]
_SETTINGS: Final = (
    ("chat-messages", "kafka.chat_retention_ms"),
    ("extraction-windows", "kafka.windows_retention_ms"),
    ("dead-letters", "kafka.dead_letters_retention_ms"),
    ("profile-updated", "kafka.changes_retention_ms"),
    ("event-updated", "kafka.changes_retention_ms"),
)


def retained_topics(
    prefix: str, shadows: Sequence[Topics], configs: Mapping[str, TopicConfig], now: datetime
) -> tuple[RetainedTopic, ...]:
    """The existing topics that keep records of before `now`."""
    named = {f"{prefix}{name}": setting for name, setting in _SETTINGS}
    named |= {shadow.extraction_windows: "kafka.windows_retention_ms" for shadow in shadows}
    return tuple(_retained(name, setting, configs[name], now) for name, setting in named.items() if name in configs)


def compacted_topics(
    topics: Topics, shadows: Sequence[Topics], configs: Mapping[str, TopicConfig], now: datetime
) -> tuple[CompactedTopic, ...]:
    """The existing topics whose tombstones are written at `now`."""
    named = (topics.profiles, topics.buffer_changelog, *(shadow.buffer_changelog for shadow in shadows))
    return tuple(_compacted(name, configs[name], now) for name in named if name in configs)


def held_elsewhere(settings: Settings) -> tuple[Elsewhere, ...]:
    """What no command of ours reaches."""
    topics = dict.fromkeys(source.topic for source in settings.ingest.sources)
    found = [
        Elsewhere(what=f"topic {topic}", why="a source of ingest.sources: its owner's, and nothing is deleted there")
        for topic in topics
    ]
    if settings.buffer.store == "rocksdb":
        found.append(
            Elsewhere(
                what="RocksDB folders of workers that do not run",
                why="a worker cleans its own when it starts; delete buffer.data_dir of one that never will",
            )
        )
    return (
        *found,
        Elsewhere(what="logs", why="they hold ids of projects and users, and never what was said: keep them shortly"),
        Elsewhere(what="backups", why="a restored one has the user again, until `memostream replay` or another forget"),
        Elsewhere(what="consumers", why="who follows the change topics deletes copies at the tombstone on profiles"),
    )


def _retained(topic: str, setting: str, config: TopicConfig, now: datetime) -> RetainedTopic:
    retention_ms = int(config.get("retention.ms", -1))
    if not 0 <= retention_ms < MAX_MS:
        fix = f"set {setting} and the topic's retention.ms (kafka-configs --alter) to what the law allows"
        return RetainedTopic(topic=topic, retention_ms=None, gone_by=None, fix=fix)
    # A segment goes as a whole, once its newest record is old enough, and takes records for so long.
    span_ms = retention_ms + int(config.get("segment.ms", SEGMENT_MS)) + BROKER_MS
    return RetainedTopic(topic=topic, retention_ms=retention_ms, gone_by=_after(now, span_ms))


def _compacted(topic: str, config: TopicConfig, now: datetime) -> CompactedTopic:
    lag_ms = int(config.get("max.compaction.lag.ms", MAX_MS))
    if lag_ms >= MAX_MS:
        fix = "set the topic's max.compaction.lag.ms to kafka.compaction_lag_ms (kafka-configs --alter)"
        return CompactedTopic(topic=topic, gone_by=None, tombstones_gone_by=None, fix=fix)
    values_ms = lag_ms + BROKER_MS
    # The clock of a tombstone starts when it is first compacted; a later compaction removes it.
    tombstones_ms = values_ms + int(config.get("delete.retention.ms", DELETE_RETENTION_MS)) + values_ms
    return CompactedTopic(topic=topic, gone_by=_after(now, values_ms), tombstones_gone_by=_after(now, tombstones_ms))


def _after(now: datetime, milliseconds: int) -> datetime | None:
    return now + timedelta(milliseconds=milliseconds) if milliseconds < MAX_MS else None
