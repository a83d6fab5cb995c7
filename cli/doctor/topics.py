"""Checks of our topics and of those that are read: there, in the right shape, and not from the future."""

from collections.abc import Sequence
from typing import Final

from cli.doctor.findings import Finding, ok, unless_faulty
from cli.doctor.running import Check, Surroundings
from cli.doctor.topic_rules import judge_missing, judge_partitions, judge_record_times, judge_sources, judge_topic
from schemas.settings import Settings
from streams.clients import admin, consumer
from streams.inspection import first_after, read_layouts
from streams.topics import (
    TopicDeclaration,
    Topics,
    declarations,
    missing_topics,
    partition_counts,
    refused_creations,
    shared_counts,
    topic_settings,
)

# A record this far in the future was not made by a clock that runs well.
CLOCK_SLACK_S: Final = 10.0
ADVICE: Final = "see what the check of the broker says, and whether this user may describe topics"


async def check_topics(surroundings: Surroundings) -> Sequence[Finding]:
    settings = surroundings.settings
    declared = declared_topics(settings)
    names = [topic.name for topic in declared]
    async with admin(settings.kafka) as client:
        layouts = await read_layouts(client, names)
        found = await topic_settings(client, layouts)
        counts = {name: layout.partitions for name, layout in layouts.items()}
        missing = missing_topics(settings.kafka, declared, counts)
        refused = await refused_creations(client, missing) if missing else {}
        brokers = len((await client.describe_cluster())["brokers"])
    faults = judge_missing([topic.name for topic in missing], refused)
    for topic in declared:
        if (layout := layouts.get(topic.name)) is not None:
            faults += judge_topic(topic, layout, found.get(topic.name), settings, brokers)
    lonely = " (one broker, so one copy of each record)" if brokers == 1 else ""
    return unless_faulty(faults, f"{len(layouts)} topics fit{lonely}")


def declared_topics(settings: Settings) -> tuple[TopicDeclaration, ...]:
    return declarations(settings.kafka, settings.buffer)


async def check_partitions(surroundings: Surroundings) -> Sequence[Finding]:
    settings = surroundings.settings
    declared = declared_topics(settings)
    async with admin(settings.kafka) as client:
        existing = await partition_counts(client, [topic.name for topic in declared])
    return [judge_partitions(shared_counts(declared, existing), settings.kafka.partitions)]


async def check_sources(surroundings: Surroundings) -> Sequence[Finding]:
    settings = surroundings.settings
    wanted = [source.topic for source in settings.ingest.sources]
    if not wanted:
        return [ok("none: ingest.sources is empty")]
    async with admin(settings.kafka) as client:
        existing = await partition_counts(client, wanted)
    return unless_faulty(judge_sources(wanted, existing), f"all there: {', '.join(wanted)}")


async def check_record_times(surroundings: Surroundings) -> Sequence[Finding]:
    settings = surroundings.settings
    topics = Topics(settings.kafka.topic_prefix)
    names = [topics.chat_messages, topics.extraction_windows]
    now = surroundings.now()
    horizon_ms = int((now.timestamp() + CLOCK_SLACK_S) * 1000)
    async with admin(settings.kafka) as client:
        counts = await partition_counts(client, names)
    if not counts:
        return [ok("there are no records yet")]
    async with consumer(settings.kafka) as client:
        found = await first_after(client, counts, horizon_ms)
    ahead: dict[str, int] = {}
    for place, record in found.items():
        ahead[place.topic] = max(ahead.get(place.topic, 0), record.timestamp_ms)
    return unless_faulty(judge_record_times(ahead, now), "no record is from the future")


CHECKS: Final = (
    Check("topics", check_topics, ADVICE, needs=("broker",)),
    Check("partitions", check_partitions, ADVICE, needs=("broker",)),
    Check("sources", check_sources, ADVICE, needs=("broker",)),
    Check("record-times", check_record_times, ADVICE, needs=("broker",)),
)
