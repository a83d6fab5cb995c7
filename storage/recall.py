"""Memory as it is put into prompts: few columns, prepared statements, never the vectors."""

from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, get_args
from uuid import UUID

from sqlalchemy import Float, Integer, Select, Table, Text, bindparam, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.memory import Embedding
from storage.columns import LIVE_GENERATION
from storage.tables import gists, profiles, users
from storage.vector_columns import VECTORS

# Which of the two times of all that is remembered: when memory held it, or when it was said.
Clock = Literal["recorded", "occurred"]


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
# Looked up in the snapshot in which the vectors are read, for they may change places.
_OWN_VECTOR: Final = case(
    {name: gists.c[name] for name in VECTORS},
    value=select(
        func.memostream_vector_column(bindparam("model", type_=Text), bindparam("dimension", type_=Integer))
    ).scalar_subquery(),
)
_SIMILARITY: Final = 1 - _OWN_VECTOR.cosine_distance(bindparam("vector"))


def _gists(clock: Clock) -> Select[Any]:
    moment = gists.c[f"{clock}_at"]
    return (
        select(*(gists.c[name] for name in RecentGist._fields))
        .where(of_live_user(gists), moment > bindparam("since"), moment <= bindparam("until"))
        .limit(bindparam("limit"))
    )


# The gists of one event have one time: the last said comes first, as among events.
_RECENT_GISTS: Final = {
    clock: _gists(clock).order_by(gists.c[f"{clock}_at"].desc(), gists.c.event_id, gists.c.number.desc())
    for clock in get_args(Clock)
}
_SIMILAR_GISTS: Final = {
    clock: _gists(clock)
    .where(bindparam("threshold", type_=Float) < _SIMILARITY)
    .order_by(_SIMILARITY.desc(), gists.c.gist_id)
    for clock in get_args(Clock)
}


async def read_entries(connection: AsyncConnection, project_id: str, user_id: str) -> list[Entry]:
    """The live profile in no order; empty for a user never seen."""
    rows = await connection.execute(_ENTRIES, {"project_id": project_id, "user_id": user_id})
    return [Entry._make(row) for row in rows]


async def read_recent_gists(
    connection: AsyncConnection,
    project_id: str,
    user_id: str,
    *,
    since: datetime,
    until: datetime,
    limit: int,
    clock: Clock = "recorded",
) -> list[RecentGist]:
    """Gists whose time is after `since` and not after `until`, the newest first."""
    parameters = {"project_id": project_id, "user_id": user_id, "since": since, "until": until, "limit": limit}
    return [RecentGist._make(row) for row in await connection.execute(_RECENT_GISTS[clock], parameters)]


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
    clock: Clock = "recorded",
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
    return [RecentGist._make(row) for row in await connection.execute(_SIMILAR_GISTS[clock], parameters)]
