"""A project's own configuration, as text; what it means is decided where it is set and where it is used."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import projects


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """The text as it was set, and when."""

    text: str
    updated_at: datetime


async def read_project_config(connection: AsyncConnection, project_id: str) -> StoredConfig | None:
    """None for a project without a configuration of its own."""
    query = select(projects.c.profile_config, projects.c.updated_at).where(
        projects.c.project_id == project_id, projects.c.profile_config.is_not(None)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else StoredConfig(row.profile_config, row.updated_at)


async def read_project_configs(connection: AsyncConnection) -> dict[str, str]:
    """The text of every project that has one, by project, in the order of their ids."""
    query = (
        select(projects.c.project_id, projects.c.profile_config)
        .where(projects.c.profile_config.is_not(None))
        .order_by(projects.c.project_id)
    )
    return {row.project_id: row.profile_config for row in await connection.execute(query)}


async def write_project_config(connection: AsyncConnection, project_id: str, text: str, now: datetime) -> None:
    """Set or replace it; the caller has parsed the text. Workers see it within seconds."""
    statement = insert(projects).values(project_id=project_id, profile_config=text, updated_at=now)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[projects.c.project_id],
            set_={"profile_config": statement.excluded.profile_config, "updated_at": statement.excluded.updated_at},
        )
    )


async def clear_project_config(connection: AsyncConnection, project_id: str, now: datetime) -> bool:
    """False if there was none."""
    statement = update(projects).where(projects.c.project_id == project_id, projects.c.profile_config.is_not(None))
    cleared = await connection.execute(statement.values(profile_config=None, updated_at=now))
    return cleared.rowcount > 0
