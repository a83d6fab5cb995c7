"""Checks of the consumer groups and of what was refused: who reads, how far behind, and what waits for a person."""

from collections.abc import Sequence
from typing import Final

from cli.doctor.findings import Finding, failed, ok, unless_faulty, warning
from cli.doctor.running import Check, Surroundings
from cli.scanning import TopicScanner, topic_scanner
from schemas.settings import Settings
from streams.clients import admin, consumer
from streams.inspection import Member, first_after, read_groups
from streams.topics import Topics, partition_counts

RECENT_S: Final = 24 * 3600.0
ADVICE: Final = "see what the check of the broker says, and whether this user may describe groups"


async def check_groups(surroundings: Surroundings) -> Sequence[Finding]:
    kafka = surroundings.settings.kafka
    read_by = topics_by_group(surroundings.settings)
    findings = []
    async with topic_scanner(kafka) as scanner, admin(kafka) as client:
        counts = await partition_counts(client, [name for names in read_by.values() for name in names])
        groups = await read_groups(client, read_by)
        for group, names in read_by.items():
            distances = [
                await _behind(scanner, group, name, exists=group in groups) for name in names if name in counts
            ]
            findings.append(judge_group(group, names, groups.get(group, ()), sum(distances)))
    return findings


def topics_by_group(settings: Settings) -> dict[str, list[str]]:
    """What our consumer groups read."""
    topics = Topics(settings.kafka.topic_prefix)
    sources = [source.topic for source in settings.ingest.sources]
    return {
        **({topics.ingest_group: sources} if sources else {}),
        topics.buffer_group: [topics.chat_messages],
        topics.extraction_group: [topics.extraction_windows],
    }


async def _behind(scanner: TopicScanner, group: str, topic: str, *, exists: bool) -> int:
    first, end = await scanner.bounds(topic)
    return await (scanner.behind(group, topic, end) if exists else scanner.count(topic, first, end))


def judge_group(group: str, topics: Sequence[str], members: Sequence[Member], behind: int) -> Finding:
    read = ", ".join(topics)
    strangers = sorted({f"{member.client_id} at {member.host}" for member in members if not member.is_ours})
    if strangers:
        return failed(
            f"{', '.join(strangers)} has joined our group {group}: what it is given of {read} is never extracted",
            "give that program a group.id of its own",
        )
    if not members and behind:
        return warning(
            f"{behind:,} {_records(behind)} of {read} {_wait(behind)}, and nobody is in group {group}",
            "start `memostream worker`",
        )
    if not members:
        return ok(f"{group}: no worker runs, and nothing waits")
    noun = "member" if len(members) == 1 else "members"
    return ok(f"{group}: {len(members)} {noun}, {behind:,} {_records(behind)} behind")


async def check_dead_letters(surroundings: Surroundings) -> Sequence[Finding]:
    kafka = surroundings.settings.kafka
    topic = Topics(kafka.topic_prefix).dead_letters
    since_ms = int((surroundings.now().timestamp() - RECENT_S) * 1000)
    async with admin(kafka) as client:
        counts = await partition_counts(client, [topic])
    if not counts:
        return [ok("none: there is no topic for them yet")]
    async with topic_scanner(kafka) as scanner, consumer(kafka) as client:
        first, end = await scanner.bounds(topic)
        recent = await first_after(client, counts, since_ms)
        begin = {**end, **{place.partition: record.offset for place, record in recent.items()}}
        return unless_faulty(
            judge_dead_letters(await scanner.count(topic, begin, end)),
            f"none in the last 24 hours, {await scanner.count(topic, first, end):,} in all",
        )


def judge_dead_letters(recent: int) -> list[Finding]:
    if not recent:
        return []
    return [
        warning(
            f"{recent:,} {_records(recent)} refused in the last 24 hours",
            "see why: `memostream watch --dead-letters --from-beginning`",
        )
    ]


def _records(count: int) -> str:
    return "record" if count == 1 else "records"


def _wait(count: int) -> str:
    return "waits" if count == 1 else "wait"


CHECKS: Final = (
    Check("groups", check_groups, ADVICE, needs=("broker",)),
    Check("dead-letters", check_dead_letters, ADVICE, needs=("broker",)),
)
