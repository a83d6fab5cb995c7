"""What role-play has found out about a conversation: the last few of each user."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import user_statuses, users
from storage.text import storable_json

KIND: Final = "roleplay_plot_status"
# Of one user; older ones go when a new one comes.
KEPT: Final = 20


async def read_proposed_topics(connection: AsyncConnection, project_id: str, user_id: str, limit: int) -> list[str]:
    """What was proposed to a user, the latest first."""
    overview = user_statuses.c.attributes["new_topic"]["overview"].astext
    query = (
        select(overview)
        .where(
            user_statuses.c.project_id == project_id,
            user_statuses.c.user_id == user_id,
            user_statuses.c.kind == KIND,
            overview.is_not(None),
        )
        .order_by(user_statuses.c.status_id.desc())
        .limit(limit)
    )
    return list(await connection.scalars(query))


async def add_status(
    connection: AsyncConnection, project_id: str, user_id: str, attributes: Mapping[str, Any], now: datetime
) -> None:
    """Keep a status of a user who is known; of anybody else nothing is kept, for nothing would ever remove it."""
    # Locked, so that no forget passes between this look and the commit.
    known = select(users.c.user_id).where(users.c.project_id == project_id, users.c.user_id == user_id)
    if await connection.scalar(known.with_for_update(read=True)) is None:
        return
    mine = (user_statuses.c.project_id == project_id) & (user_statuses.c.user_id == user_id)
    await connection.execute(
        insert(user_statuses).values(
            project_id=project_id,
            user_id=user_id,
            kind=KIND,
            attributes=storable_json(dict(attributes)),
            recorded_at=now,
        )
    )
    newest = select(user_statuses.c.status_id).where(mine).order_by(user_statuses.c.status_id.desc()).limit(KEPT)
    await connection.execute(delete(user_statuses).where(mine, user_statuses.c.status_id.not_in(newest)))
