"""Judgements on topics: values in, findings out."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from cli.doctor.findings import Finding, failed, ok, warning
from schemas.settings import Settings
from streams.inspection import TopicLayout
from streams.topics import TopicDeclaration, Topics, differing_counts, misfits

DAY_MS: Final = 86_400_000
_CREATION_FIXES: Final = {
    "InvalidReplicationFactorError": "set kafka.replication_factor to at most the number of brokers",
    "TopicAuthorizationFailedError": "allow this user to create topics (ACL: Create), or create it by hand",
    "ClusterAuthorizationFailedError": "allow this user to create topics (ACL: Create), or create it by hand",
    "PolicyViolationError": "see the broker's create.topic.policy, or create it by hand",
}


def judge_missing(missing: Sequence[str], refused: Mapping[str, str]) -> list[Finding]:
    """A missing topic is made by the worker, unless the broker says that it may not be."""
    faults = [
        failed(
            f"topic {name} is missing and cannot be created: {reason}",
            _CREATION_FIXES.get(reason, "create it by hand as docs/design.md declares it, or lift the refusal"),
        )
        for name, reason in sorted(refused.items())
    ]
    creatable = [name for name in missing if name not in refused]
    if creatable:
        faults.append(
            warning(
                f"missing: {', '.join(creatable)}",
                "start a worker, which creates them; if it ran before, check kafka.topic_prefix",
            )
        )
    return faults


def judge_topic(
    topic: TopicDeclaration, layout: TopicLayout, found: Mapping[str, str] | None, settings: Settings, brokers: int
) -> list[Finding]:
    """What is wrong with one existing topic; `found` is None where its settings may not be read."""
    faults = []
    if layout.leaderless:
        numbers = ", ".join(map(str, layout.leaderless))
        faults.append(
            failed(f"topic {topic.name} has no leader for partition {numbers}", "start the brokers that hold it")
        )
    faults += _judge_copies(topic, layout, found or {}, settings.kafka.replication_factor, brokers)
    if found is None:
        return [
            *faults,
            warning(
                f"this user may not read the settings of topic {topic.name}, so they were not checked",
                "allow DescribeConfigs on it to have them checked",
            ),
        ]
    faults += [failed(misfit.found, misfit.fix) for misfit in misfits(topic, found)]
    return faults + _judge_retention(topic, found, settings)


def _judge_copies(
    topic: TopicDeclaration, layout: TopicLayout, found: Mapping[str, str], wanted: int, brokers: int
) -> list[Finding]:
    in_sync = int(found.get("min.insync.replicas", 1))
    if in_sync > layout.copies:
        return [
            failed(
                f"topic {topic.name} has min.insync.replicas {in_sync} and {layout.copies} copies, "
                "so it takes no record of ours",
                f"set its min.insync.replicas to {max(1, layout.copies - 1)} (kafka-configs --alter), or add replicas",
            )
        ]
    if layout.copies < wanted or (layout.copies == 1 and brokers > 1):
        return [
            warning(
                f"topic {topic.name} has {layout.copies} of {max(wanted, 2)} copies: a lost broker loses records",
                "add replicas with kafka-reassign-partitions; kafka.replication_factor counts for new topics only",
            )
        ]
    if layout.copies > 2 and in_sync == 1:
        return [
            warning(
                f"topic {topic.name} has min.insync.replicas 1: an acknowledged record may be on one broker only",
                "set its min.insync.replicas to 2 (kafka-configs --alter)",
            )
        ]
    if layout.copies == in_sync > 1:
        return [
            warning(
                f"topic {topic.name} has min.insync.replicas {in_sync} of {layout.copies} copies: "
                "it takes no record while one broker restarts",
                f"set it to {in_sync - 1} (kafka-configs --alter), or add replicas",
            )
        ]
    return []


def _judge_retention(topic: TopicDeclaration, found: Mapping[str, str], settings: Settings) -> list[Finding]:
    faults = []
    topics = Topics(settings.kafka.topic_prefix)
    kept_ms, wanted_ms = int(found.get("retention.ms", -1)), int(topic.config.get("retention.ms", -1))
    sized_bytes = int(found.get("retention.bytes", -1))
    if topic.config["cleanup.policy"] == "delete" and kept_ms >= 0 and (wanted_ms < 0 or kept_ms < wanted_ms):
        wanted = "ever" if wanted_ms < 0 else f"{_days(wanted_ms)} days"
        reason = " A replay sees no more" if topic.name == topics.chat_messages else ""
        faults.append(
            warning(
                f"topic {topic.name} keeps records for {_days(kept_ms)} days, not for {wanted}.{reason}",
                f"set its retention.ms to {wanted_ms} (kafka-configs --alter), or say so in kafka.*_retention_ms",
            )
        )
    if sized_bytes >= 0 and topic.config["cleanup.policy"] == "delete":
        faults.append(
            warning(
                f"topic {topic.name} removes records above {sized_bytes} bytes a partition, read or not",
                "set its retention.bytes to -1 (kafka-configs --alter)",
            )
        )
    least_ms = int(topic.config.get("delete.retention.ms", 0))
    with_copies = topic.name == topics.buffer_changelog and settings.buffer.store == "rocksdb"
    if with_copies and int(found.get("delete.retention.ms", least_ms)) < least_ms:
        faults.append(
            failed(
                f"topic {topic.name} drops tombstones after {found['delete.retention.ms']} ms: "
                "a RocksDB copy that missed one would bring back what is gone",
                f"set its delete.retention.ms to {least_ms} (kafka-configs --alter)",
            )
        )
    wanted_lag_ms = topic.config.get("max.compaction.lag.ms")
    lag_ms = found.get("max.compaction.lag.ms", wanted_lag_ms)
    if wanted_lag_ms is not None and lag_ms is not None and int(lag_ms) > int(wanted_lag_ms):
        faults.append(
            warning(
                f"topic {topic.name} may keep what was forgotten for more than {_days(int(wanted_lag_ms))} days",
                f"set its max.compaction.lag.ms to {wanted_lag_ms} (kafka-configs --alter)",
            )
        )
    return faults


def judge_partitions(counts: Mapping[str, int], configured: int) -> Finding:
    if (misfit := differing_counts(counts)) is not None:
        return failed(misfit.found, misfit.fix)
    if not counts:
        return ok(f"{configured} will be made; the number is for ever")
    (count,) = set(counts.values())
    return ok(f"{count} in all topics that belong together; so many workers may share the work")


def judge_sources(wanted: Iterable[str], existing: Mapping[str, int]) -> list[Finding]:
    return [
        failed(
            f"topic {name} of ingest.sources does not exist, or this user may not see it",
            "correct the name, or create the topic: memostream does not create topics of others",
        )
        for name in dict.fromkeys(wanted)
        if name not in existing
    ]


def judge_record_times(ahead_ms: Mapping[str, int], now: datetime) -> list[Finding]:
    """The only way to see a producer's or a broker's clock without writing: the times that they left."""
    faults = []
    for topic, time_ms in sorted(ahead_ms.items()):
        seconds = datetime.fromtimestamp(time_ms / 1000, UTC) - now
        faults.append(
            warning(
                f"topic {topic} holds a record whose time is {seconds.total_seconds():,.0f} s ahead of this machine",
                "set the clock of its producer, of the broker or of this machine by NTP",
            )
        )
    return faults


def _days(milliseconds: int) -> str:
    return f"{milliseconds / DAY_MS:.3g}"
