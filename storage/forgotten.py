"""Who has been forgotten, as far as it is known by hash."""

from collections.abc import Collection, Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.errors import translated
from storage.reading import user_hash
from storage.tables import forgotten_users

User = tuple[str, str]


async def forgotten_revisions(engine: AsyncEngine, users: Collection[User]) -> Mapping[User, int]:
    """The last revision before they were forgotten, of those of these (project, user) who were; raises RetryLater."""
    by_hash = {user_hash(*user): user for user in users}
    query = select(forgotten_users.c.user_hash, forgotten_users.c.last_revision).where(
        forgotten_users.c.user_hash.in_(by_hash)
    )
    with translated("looking for forgotten users"):
        async with engine.connect() as connection:
            rows = (await connection.execute(query)).all()
    return {by_hash[row.user_hash]: row.last_revision for row in rows}
