"""How far shadows are: records that wait, workers, what they hold, and what they have cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cli.scanning import TopicScanner, topic_scanner
from cli.shadows import Offsets, groups_of, named_shadow, topics_of
from schemas.settings import Settings
from storage.database import create_engine
from storage.errors import translated
from storage.shadow_counts import ShadowCounts, count_shadow
from storage.shadows import Shadow, read_shadows
from storage.usage import UsageFilter, UsageSum, total_usage
from streams.clients import admin
from streams.inspection import read_groups
from streams.topics import existing_names


@dataclass(frozen=True, slots=True)
class Stage:
    """A consumer group of a shadow: records of its topic that it has not finished, None before there is the topic."""

    group: str
    topic: str
    members: int
    behind: int | None


@dataclass(frozen=True, slots=True)
class ShadowStatus:
    """A shadow as it stands."""

    shadow: Shadow
    stages: tuple[Stage, ...]
    counts: ShadowCounts
    spent: UsageSum

    @property
    def behind(self) -> int | None:
        """Records that wait, in all; None while something cannot be told."""
        known = [stage.behind for stage in self.stages if stage.behind is not None]
        return sum(known) if len(known) == len(self.stages) else None

    @property
    def workers(self) -> int:
        """A worker is a member of each group."""
        return max((stage.members for stage in self.stages), default=0)


async def read_status(settings: Settings, name: str | None) -> Sequence[ShadowStatus]:
    """The shadow of that name, or all, the oldest first.

    Raises NotFound for a name that is not there, and RetryLater if the broker or Postgres is away.
    """
    prefix = settings.kafka.topic_prefix
    engine = create_engine(settings.storage)
    try:
        with translated("reading shadows"):
            async with engine.connect() as connection:
                shadows = (
                    await read_shadows(connection, prefix)
                    if name is None
                    else [await named_shadow(connection, prefix, name)]
                )
                held = [await count_shadow(connection, shadow.generation) for shadow in shadows]
                spent = [await total_usage(connection, UsageFilter(spent_for=shadow.generation)) for shadow in shadows]
    finally:
        await engine.dispose()
    if not shadows:
        return []
    groups = [group for shadow in shadows for group in groups_of(shadow)]
    topics = [topic for shadow in shadows for topic in _read_topics(shadow).values()]
    async with admin(settings.kafka) as client:
        members = {group: len(found) for group, found in (await read_groups(client, groups)).items()}
        existing = await existing_names(client, topics)
    async with topic_scanner(settings.kafka) as scanner:
        return [
            ShadowStatus(shadow, tuple(await _stages(scanner, shadow, members, existing)), counts, usage)
            for shadow, counts, usage in zip(shadows, held, spent, strict=True)
        ]


def unread(
    begin: Offsets | None, end: Offsets | None, first: Offsets, last: Offsets, committed: Offsets
) -> tuple[dict[int, int], dict[int, int]]:
    """What a group has still to read: from where, and up to before which offset, by partition.

    `begin` and `end` are the shadow's range, None for all of its own topic and for no end; the topic holds records from
    `first` on up to before `last`.
    """
    partitions = first if begin is None else [number for number in begin if number in first]
    starts, stops = {}, {}
    for number in partitions:
        low = first[number] if begin is None else max(begin[number], first[number])
        starts[number] = max(low, committed.get(number, 0))
        stops[number] = last[number] if end is None else min(last[number], end.get(number, 0))
    return starts, stops


def _read_topics(shadow: Shadow) -> Mapping[str, str]:
    """Which topic each group reads."""
    topics = topics_of(shadow)
    read = {topics.buffer_group: topics.chat_messages, topics.extraction_group: topics.extraction_windows}
    return {group: read[group] for group in groups_of(shadow)}


async def _stages(
    scanner: TopicScanner, shadow: Shadow, members: Mapping[str, int], existing: Sequence[str]
) -> list[Stage]:
    topics, found = topics_of(shadow), []
    for group, topic in _read_topics(shadow).items():
        behind = None
        if topic in existing:
            is_first = shadow.source == "extraction-windows" or group == topics.buffer_group
            begin = shadow.begin_offsets if is_first else None
            end = shadow.end_offsets if is_first else None
            first, last = await scanner.bounds(topic)
            committed = await scanner.committed(group, topic) if group in members else {}
            behind = await scanner.count(topic, *unread(begin, end, first, last, committed))
        found.append(Stage(group, topic, members.get(group, 0), behind))
    return found
