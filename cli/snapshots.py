"""Publishes the memory of users as it is now, a user a transaction, and no faster than the relay sends it."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from cli.databases import open_database
from cli.pacing import room
from schemas.errors import NotFound
from schemas.settings import Settings
from storage.errors import translated
from storage.outbox import backlog
from storage.snapshot import publish_user
from storage.user_listing import UserKey, user_pages

# Rows that wait in the outbox; changes of live traffic stand behind them.
MAX_WAITING: Final = 5_000
# After so many users it is looked how many rows wait.
LOOK_AFTER_USERS: Final = 50


@dataclass(slots=True)
class SnapshotTotals:
    """What was put into the outbox."""

    users: int = 0
    entries: int = 0
    events: int = 0


async def publish_snapshot(
    settings: Settings, project_id: str | None, user_id: str | None, *, with_events: bool
) -> SnapshotTotals:
    """Publish one user of a project, all of it, or everybody where neither is named.

    Raises NotFound for a user of whom nothing is known, or where there is nobody, and RetryLater if Postgres is away:
    users before that are published, and may be so again.
    """
    totals = SnapshotTotals()
    async with open_database(settings.storage) as engine:
        async for user in users_of(engine, project_id, user_id):
            if totals.users % LOOK_AFTER_USERS == 0:
                await wait_for_room(engine)
            with translated("publishing a snapshot"):
                async with engine.begin() as connection:
                    found = await publish_user(
                        connection, *user, datetime.now(UTC), uuid.uuid4, with_events=with_events
                    )
            if found is not None:
                totals.users += 1
                totals.entries += found.entries
                totals.events += found.events
    if not totals.users:
        of_whom = f"nothing is remembered of {user_id}" if user_id is not None else "there are no users"
        raise NotFound(of_whom if project_id is None else f"{of_whom} in project {project_id}")
    return totals


async def users_of(engine: AsyncEngine, project_id: str | None, user_id: str | None) -> AsyncIterator[UserKey]:
    """One user, all of a project, or everybody where neither is named."""
    if user_id is not None:
        yield project_id or "default", user_id
        return
    with translated("reading users"):
        async with engine.connect() as connection:
            async for page in user_pages(connection, project_id=project_id):
                # Work on a page takes long, and an idle transaction would be ended.
                await connection.rollback()
                for user in page:
                    yield user


async def wait_for_room(engine: AsyncEngine) -> None:
    """Wait until the outbox has room."""

    async def waiting() -> int:
        with translated("looking at the outbox"):
            async with engine.connect() as connection:
                return (await backlog(connection))[0]

    await room(waiting, MAX_WAITING, "rows wait in the outbox; does a worker with the role relay run?")
