"""Compares a shadow with live memory, user by user; it reads, and changes nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from cli.databases import open_database
from cli.identifiers import named
from cli.shadow_diff_rules import UserDiff, diff_of
from cli.shadows import named_shadow
from schemas.errors import NotFound
from schemas.settings import Settings
from storage.errors import translated
from storage.shadow_comparing import count_unknown, read_both, unpromoted_pages
from storage.shadow_counts import ShadowCounts, count_shadow
from storage.shadows import Shadow

PAGE_USERS = 200


@dataclass(frozen=True, slots=True)
class Comparison:
    """A shadow under comparison; `unknown` users of live memory are not in it, None where it is made for one user."""

    shadow: Shadow
    counts: ShadowCounts
    unknown: int | None
    connection: AsyncConnection

    async def users(self, project_id: str | None, user_id: str | None) -> AsyncIterator[UserDiff]:
        """Users who are not promoted, in the order of their ids, each as of one moment.

        Raises NotFound where a user or a project is named of whom there is nobody.
        """
        is_there = False
        generation = self.shadow.generation
        async for page in unpromoted_pages(self.connection, generation, PAGE_USERS, project_id, user_id):
            is_there = True
            for user in page:
                await self.connection.rollback()
                sides = await read_both(self.connection, *user, generation)
                yield diff_of(*user, sides)
        if not is_there and (user_id is not None or project_id is not None):
            raise NotFound(
                f"shadow {self.shadow.name} has nothing of {named(project_id, user_id)} that is not promoted"
            )


@asynccontextmanager
async def comparing(settings: Settings, name: str) -> AsyncIterator[Comparison]:
    """Raises NotFound for a name that is not there, and RetryLater if Postgres is away."""
    async with open_database(settings.storage) as engine:
        with translated("comparing a shadow"):
            async with engine.connect() as plain:
                connection = await plain.execution_options(isolation_level="REPEATABLE READ")
                shadow = await named_shadow(connection, settings.kafka.topic_prefix, name)
                counts = await count_shadow(connection, shadow.generation)
                unknown = None
                if shadow.of_user_hash is None:
                    unknown = await count_unknown(connection, shadow.generation, shadow.of_project)
                yield Comparison(shadow, counts, unknown, connection)
