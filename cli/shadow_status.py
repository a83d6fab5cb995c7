"""How far shadows are: records that wait, workers, what they hold, and what they have cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cli.databases import open_database
from cli.scanning import TopicScanner, topic_scanner
from cli.shadows import named_shadow, unread
from schemas.settings import Settings
from storage.errors import translated
from storage.shadow_counts import ShadowCounts, count_shadow
from storage.shadows import Shadow, read_shadows
from storage.usage import UsageFilter, UsageSum, total_usage
from streams.clients import admin
from streams.inspection import read_groups
from streams.shadow_running import topics_of
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
    async with open_database(settings.storage) as engine:
        with translated("reading shadows"):
            async with engine.connect() as connection:
                shadows = (
                    await read_shadows(connection, prefix)
                    if name is None
                    else [await named_shadow(connection, prefix, name)]
                )
                held = [await count_shadow(connection, shadow.generation) for shadow in shadows]
                spent = [await total_usage(connection, UsageFilter(spent_for=shadow.generation)) for shadow in shadows]
    if not shadows:
        return []
    own = [topics_of(shadow) for shadow in shadows]
    groups = [group for topics in own for group in topics.groups]
    read = [topic for topics in own for topic in topics.reads.values()]
    async with admin(settings.kafka) as client:
        members = {group: len(found) for group, found in (await read_groups(client, groups)).items()}
        existing = await existing_names(client, read)
    async with topic_scanner(settings.kafka) as scanner:
        return [
            ShadowStatus(shadow, tuple(await _stages(scanner, shadow, members, existing)), counts, usage)
            for shadow, counts, usage in zip(shadows, held, spent, strict=True)
        ]


async def _stages(
    scanner: TopicScanner, shadow: Shadow, members: Mapping[str, int], existing: Sequence[str]
) -> list[Stage]:
    topics, found = topics_of(shadow), []
    for group, topic in topics.reads.items():
        behind = None
        if topic in existing:
            is_first = topic == topics.source
            begin = shadow.begin_offsets if is_first else None
            end = shadow.end_offsets if is_first else None
            first, last = await scanner.bounds(topic)
            committed = await scanner.committed(group, topic) if group in members else {}
            behind = await scanner.count(topic, *unread(begin, end, first, last, committed))
        found.append(Stage(group, topic, members.get(group, 0), behind))
    return found
