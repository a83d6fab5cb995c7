"""Search in one user's memory: an exact scan of their rows by vector, by keyword, or by both."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import orjson
from pgvector import HalfVector
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.memory import Embedding
from storage.search_statements import Shape, statement

Kind = Literal["gist", "event", "profile"]
Mode = Literal["hybrid", "vector", "keyword"]

KINDS: Final[tuple[Kind, ...]] = ("gist", "event", "profile")


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What rows must be to be looked at; None and empty ask for nothing.

    Entries of a profile have neither tags nor sessions, so they are left out where those are asked for. `tags` are
    names, `tag_values` names with values; a row has all of them. Of `occurred_until` on, rows are too late.
    """

    occurred_since: datetime | None = None
    occurred_until: datetime | None = None
    recorded_since: datetime | None = None
    tags: tuple[str, ...] = ()
    tag_values: tuple[tuple[str, str], ...] = ()
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for.

    `vector` is the question's, and without it no mode but `keyword` goes. What is similar by no more than `threshold`
    is found by its keywords only. With `half_life_days` a score is halved with every so many days since it was said,
    as of `now`. `embeds_by` is the model that made the vector: where the database holds none of it, nothing is similar.
    Without, the vector is compared with what is in use.
    """

    mode: Mode
    question: str
    vector: Embedding | None
    limit: int
    now: datetime
    kinds: tuple[Kind, ...] = KINDS
    threshold: float = -1.0
    half_life_days: float | None = None
    narrowing: Narrowing = Narrowing()
    embeds_by: str | None = None


class Found(NamedTuple):
    """A row that was found. `similarity` is the cosine; it is None without a vector, as is `keyword_score` without
    a word in common. `event_id`, `tags` and `session_ids` are of gists and events, slot names of profile entries.
    """

    kind: Kind
    id: UUID
    text: str
    event_id: UUID | None
    tags: list[dict[str, str]] | None
    session_ids: list[str] | None
    topic: str | None
    sub_topic: str | None
    occurred_at: datetime
    created_at: datetime
    updated_at: datetime
    similarity: float | None
    keyword_score: float | None
    score: float


async def search(connection: AsyncConnection, project_id: str, user_id: str, wanted: Search) -> list[Found]:
    """The best first; of equal ones the newest. Nothing for a user never seen, or one whose rows are not embedded."""
    kinds = wanted.kinds
    narrowing = wanted.narrowing
    parameters: dict[str, Any] = {
        "project_id": project_id,
        "user_id": user_id,
        "limit": wanted.limit,
        "threshold": wanted.threshold,
    }
    if wanted.mode != "keyword":
        if wanted.vector is None:
            raise ValueError(f"a search by {wanted.mode} needs a vector")
        parameters["vector"] = as_parameter(wanted.vector)
        parameters |= {"model": wanted.embeds_by, "dimension": len(wanted.vector)}
    if wanted.mode != "vector":
        parameters["question"] = wanted.question
    if wanted.half_life_days is not None:
        parameters |= {"half_life_days": wanted.half_life_days, "now": wanted.now}
    for name in ("occurred_since", "occurred_until", "recorded_since", "session_id"):
        if (value := getattr(narrowing, name)) is not None:
            parameters[name] = value
    if narrowing.tags or narrowing.tag_values:
        parameters["tags"] = tags_document(narrowing.tags, narrowing.tag_values)
    if "tags" in parameters or "session_id" in parameters:
        kinds = tuple(kind for kind in kinds if kind != "profile")
    if not kinds:
        return []
    shape = Shape(
        wanted.mode,
        tuple(kind for kind in KINDS if kind in kinds),
        frozenset(parameters) & Shape.OPTIONAL,
    )
    return [Found._make(row) for row in await connection.execute(statement(shape), parameters)]


def tags_document(tags: tuple[str, ...], tag_values: tuple[tuple[str, str], ...]) -> str:
    """JSON that the tags of an event must contain."""
    names = [{"tag": tag} for tag in tags]
    return orjson.dumps([*names, *({"tag": tag, "value": value} for tag, value in tag_values)]).decode()


def as_parameter(vector: Embedding) -> str:
    """A vector as Postgres reads a halfvec."""
    return HalfVector(vector).to_text()
