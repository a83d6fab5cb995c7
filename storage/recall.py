"""Memory as it is put into prompts: few columns, prepared statements, never the vectors."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Float, Integer, Table, Text, bindparam, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.memory import Embedding
from storage.tables import LIVE_GENERATION, gists, profiles, users
from storage.vector_columns import VECTORS


class Entry(NamedTuple):
    """An entry of a profile."""

    profile_id: UUID
    topic: str
    sub_topic: str
    content: str
    update_hits: int
    created_at: datetime
    updated_at: datetime


class RecentGist(NamedTuple):
    """One line of an event."""

    gist_id: UUID
    event_id: UUID
    text: str
    occurred_at: datetime
    recorded_at: datetime


def of_live_user(table: Table) -> Any:
    """Rows of the user that the parameters `project_id` and `user_id` name, of the generation that is read."""
    generation = (
        select(users.c.live_generation)
        .where(users.c.project_id == bindparam("project_id"), users.c.user_id == bindparam("user_id"))
        .scalar_subquery()
    )
    return (
        (table.c.project_id == bindparam("project_id"))
        & (table.c.user_id == bindparam("user_id"))
        & (table.c.generation == func.coalesce(generation, LIVE_GENERATION))
    )


# Built once: to build a statement takes longer than to run it.
_ENTRIES: Final = select(*(profiles.c[name] for name in Entry._fields)).where(of_live_user(profiles))
_RECENT_GISTS: Final = (
    select(*(gists.c[name] for name in RecentGist._fields))
    .where(
        of_live_user(gists),
        gists.c.recorded_at > bindparam("since"),
        gists.c.recorded_at <= bindparam("until"),
    )
    # The gists of one event have one time: the last said comes first, as among events.
    .order_by(gists.c.recorded_at.desc(), gists.c.event_id, gists.c.number.desc())
    .limit(bindparam("limit"))
)
# Looked up in the snapshot in which the vectors are read, for they may change places.
_OWN_VECTOR: Final = case(
    {name: gists.c[name] for name in VECTORS},
    value=select(
        func.memostream_vector_column(bindparam("model", type_=Text), bindparam("dimension", type_=Integer))
    ).scalar_subquery(),
)
_SIMILARITY: Final = 1 - _OWN_VECTOR.cosine_distance(bindparam("vector"))
_SIMILAR_GISTS: Final = (
    select(*(gists.c[name] for name in RecentGist._fields))
    .where(
        of_live_user(gists),
        gists.c.recorded_at > bindparam("since"),
        gists.c.recorded_at <= bindparam("until"),
        bindparam("threshold", type_=Float) < _SIMILARITY,
    )
    .order_by(_SIMILARITY.desc(), gists.c.gist_id)
    .limit(bindparam("limit"))
)


async def read_entries(connection: AsyncConnection, project_id: str, user_id: str) -> list[Entry]:
    """The live profile in no order; empty for a user never seen."""
    rows = await connection.execute(_ENTRIES, {"project_id": project_id, "user_id": user_id})
    return [Entry._make(row) for row in rows]


async def read_recent_gists(
    connection: AsyncConnection, project_id: str, user_id: str, *, since: datetime, until: datetime, limit: int
) -> list[RecentGist]:
    """Gists recorded after `since` and not after `until`, the newest first."""
    parameters = {"project_id": project_id, "user_id": user_id, "since": since, "until": until, "limit": limit}
    return [RecentGist._make(row) for row in await connection.execute(_RECENT_GISTS, parameters)]


async def read_similar_gists(
    connection: AsyncConnection,
    project_id: str,
    user_id: str,
    vector: Embedding,
    *,
    threshold: float,
    since: datetime,
    until: datetime,
    limit: int,
    embeds_by: str | None = None,
) -> list[RecentGist]:
    """Gists of that time whose cosine with the vector is above `threshold`, the most similar first.

    `embeds_by` is the model that made the vector, as in `storage.search.Search`.
    """
    parameters = {
        "project_id": project_id,
        "user_id": user_id,
        "vector": vector,
        "model": embeds_by,
        "dimension": len(vector),
        "threshold": threshold,
        "since": since,
        "until": until,
        "limit": limit,
    }
    return [RecentGist._make(row) for row in await connection.execute(_SIMILAR_GISTS, parameters)]
