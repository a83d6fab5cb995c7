"""Removes a shadow: its groups, topics and rows, its name last, so that another call goes on where one ended."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from cli.databases import open_database
from cli.progress import counting
from cli.shadows import named_shadow
from schemas.errors import ConfigurationError, Conflict
from schemas.settings import Settings
from storage.errors import translated
from storage.shadow_counts import ShadowCounts, count_shadow
from storage.shadow_discarding import discard_shadow, discard_users
from storage.shadows import Shadow, deciding
from streams.clients import admin
from streams.discarding import delete_groups, delete_topics, existing_groups
from streams.inspection import read_groups
from streams.shadow_running import topics_of
from streams.shadow_topics import ShadowTopics
from streams.topics import existing_names

# So few that nobody waits long for the locks.
PAGE_USERS: Final = 100


@dataclass(frozen=True, slots=True)
class Discard:
    """What a shadow has, and what was done with it; `removed_users` of a dry run are 0."""

    shadow: Shadow
    counts: ShadowCounts
    topics: Sequence[str]
    groups: Sequence[str]
    is_executed: bool = False
    removed_users: int = 0


def check_may_go(shadow: Shadow, workers: int, *, keep_promoted: bool) -> None:
    """Raise ConfigurationError for a shadow that runs, or whose promotion has not come to its end."""
    if workers:
        raise ConfigurationError(f"the shadow {shadow.name} is running on {workers} workers: stop them first")
    if shadow.state == "promoting" and not keep_promoted:
        raise ConfigurationError(
            f"the promotion of {shadow.name} has begun and not ended: `memostream replay promote {shadow.name}` goes "
            "on with it; or give --keep-promoted, and those who are promoted stay so, while the others keep the "
            "memory that they have"
        )


async def discard(
    settings: Settings, name: str, *, execute: bool, keep_promoted: bool = False, quiet: bool = True
) -> Discard:
    """Remove all that a shadow has, without `execute` only say what that is. Memory that was promoted stays.

    Raises NotFound for a name that is not there, ConfigurationError as `check_may_go` does, Conflict beside a
    promotion or another discard, and RetryLater if the broker or Postgres is away. Stopped half-way, it is called
    again, and goes on.
    """
    prefix = settings.kafka.topic_prefix
    async with (
        open_database(settings.storage) as engine,
        deciding(engine, prefix, name) if execute else nullcontext(),
    ):
        with translated("discarding a shadow"):
            async with engine.connect() as connection:
                shadow = await named_shadow(connection, prefix, name)
                counts = await count_shadow(connection, shadow.generation)
            topics = topics_of(shadow)
            async with admin(settings.kafka) as client:
                members = await read_groups(client, topics.groups)
                check_may_go(shadow, max(map(len, members.values()), default=0), keep_promoted=keep_promoted)
                found = Discard(
                    shadow,
                    counts,
                    await existing_names(client, topics.own),
                    await existing_groups(client, topics.groups),
                )
            if not execute:
                return found
            await _remove_from_kafka(settings, shadow, topics)
            removed = await _remove_users(engine, shadow, counts, quiet=quiet)
            # Once more: a worker that has come meanwhile is refused its end, and finds no name when it comes later.
            await _remove_from_kafka(settings, shadow, topics)
            async with engine.begin() as connection:
                await discard_shadow(connection, shadow.generation)
            return replace(found, is_executed=True, removed_users=removed)


async def _remove_from_kafka(settings: Settings, shadow: Shadow, topics: ShadowTopics) -> None:
    async with admin(settings.kafka) as client:
        try:
            # First of all, for a group that has members is not deleted.
            await delete_groups(client, topics.groups)
        except Conflict as error:
            raise ConfigurationError(f"the shadow {shadow.name} is running: {error}; stop its workers first") from error
        await delete_topics(client, topics.own)


async def _remove_users(engine: AsyncEngine, shadow: Shadow, counts: ShadowCounts, *, quiet: bool) -> int:
    removed, last = 0, ("", "")
    with counting("removing users", counts.users, quiet=quiet) as advance:
        while True:
            async with engine.begin() as connection:
                following, users = await discard_users(connection, shadow.generation, last, PAGE_USERS)
            if following is None:
                return removed
            removed += users
            last = following
            advance(PAGE_USERS)
