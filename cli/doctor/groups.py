"""Checks of the consumer groups and of what was refused: who reads, how far behind, and what waits for a person."""

from collections.abc import Sequence
from typing import Final

from cli.doctor.findings import Finding, failed, ok, unless_faulty, warning
from cli.doctor.running import Check, Surroundings
from cli.scanning import TopicScanner, topic_scanner
from streams.clients import admin, consumer
from streams.inspection import Member, first_after, read_groups
from streams.topics import Topics, partition_counts

RECENT_S: Final = 24 * 3600.0
ADVICE: Final = "see what the check of the broker says, and whether this user may describe groups"


async def check_groups(surroundings: Surroundings) -> Sequence[Finding]:
    kafka = surroundings.settings.kafka
    topics = Topics(kafka.topic_prefix)
    read_by = {topics.buffer_group: topics.chat_messages, topics.extraction_group: topics.extraction_windows}
    findings = []
    async with topic_scanner(kafka) as scanner, admin(kafka) as client:
        counts = await partition_counts(client, read_by.values())
        groups = await read_groups(client, read_by)
        for group, topic in read_by.items():
            behind = await _behind(scanner, group, topic, exists=group in groups) if topic in counts else 0
            findings.append(judge_group(group, topic, groups.get(group, ()), behind))
    return findings


async def _behind(scanner: TopicScanner, group: str, topic: str, *, exists: bool) -> int:
    first, end = await scanner.bounds(topic)
    return await (scanner.behind(group, topic, end) if exists else scanner.count(topic, first, end))


def judge_group(group: str, topic: str, members: Sequence[Member], behind: int) -> Finding:
    strangers = sorted({f"{member.client_id} at {member.host}" for member in members if not member.is_ours})
    if strangers:
        return failed(
            f"{', '.join(strangers)} has joined our group {group}: what it is given of {topic} is never extracted",
            "give that program a group.id of its own",
        )
    if not members and behind:
        return warning(
            f"{behind:,} records of {topic} wait, and nobody is in group {group}", "start `memostream worker`"
        )
    if not members:
        return ok(f"{group}: no worker runs, and nothing waits")
    noun = "member" if len(members) == 1 else "members"
    return ok(f"{group}: {len(members)} {noun}, {behind:,} records behind")


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
            f"{recent:,} records were refused in the last 24 hours",
            "see why: `memostream watch --dead-letters --from-beginning`",
        )
    ]


CHECKS: Final = (
    Check("groups", check_groups, ADVICE, needs=("broker",)),
    Check("dead-letters", check_dead_letters, ADVICE, needs=("broker",)),
)
