"""Which column holds the vectors of a model: the one in use, the one that is to follow, or none.

Every process knows one model, its own, and uses the column of that model. So two models may be in use side by side
while processes are restarted with another, and no vector is ever compared with those of another model.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import structlog
from sqlalchemy import Integer, Text, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.memory import Embedding, EmbeddingModel
from storage.compiled import Compiled
from storage.errors import translated

VectorColumn = Literal["embedding", "next_embedding"]

IN_USE: Final = "embedding"
TO_FOLLOW: Final = "next_embedding"
VECTORS: Final[tuple[VectorColumn, ...]] = ("embedding", "next_embedding")
# Of the column, when a missing vector in it may be made.
EMBED_AFTER: Final[dict[VectorColumn, str]] = {"embedding": "embed_after", "next_embedding": "next_embed_after"}
# How long an answer about a gateway's own model is relied on.
KEEP_S: Final = 1.0

log = structlog.get_logger()

_MODEL: Final = (bindparam("model", type_=Text), bindparam("dimension", type_=Integer))
# A row with the `name` of the column for the model of `model_named`, which stays so until the transaction ends.
HELD: Final = select(func.memostream_held_vector_column(*_MODEL).label("name")).subquery("held")
_HELD: Final = Compiled(select(HELD.c.name))
_LOOKED_UP: Final = select(func.memostream_vector_column(*_MODEL))


async def vector_column(connection: AsyncConnection, model: EmbeddingModel | None) -> VectorColumn | None:
    """Where the vectors of a model belong, until the transaction ends; without a model the column in use.

    None where the database holds none of this model: `memostream reembed` has gone on to another.
    """
    if model is None:
        return IN_USE
    row = await _HELD.row(connection, **model_named(model))
    return None if row is None else row["name"]


def model_named(model: EmbeddingModel | None) -> dict[str, str | int | None]:
    """The parameters of `HELD`; without a model they name the column in use."""
    if model is None:
        return {"model": None, "dimension": None}
    return {"model": model.name, "dimension": model.dimension}


def placed(vector: Embedding | None, column: VectorColumn | None) -> dict[str, Embedding | None]:
    """The values of a row's vector columns: the vector in its own, and nothing in the other."""
    return {name: vector if name == column else None for name in VECTORS}


def watch_vectors(
    engine: AsyncEngine, model: EmbeddingModel | None, monotonic: Callable[[], float] = time.monotonic
) -> Callable[[], Awaitable[bool]]:
    """Whether the database holds vectors of this model, as it was a second ago at most; raises RetryLater."""
    known = True
    asked_at_s = float("-inf")

    async def ask() -> bool:
        nonlocal known, asked_at_s
        if model is None:
            return False
        if monotonic() - asked_at_s >= KEEP_S:
            with translated("looking for vectors"):
                async with engine.connect() as connection:
                    name = await connection.scalar(_LOOKED_UP, model_named(model))
            if known and name is None:
                log.warning("search.other_model", model=model.name, dimension=model.dimension)
            known, asked_at_s = name is not None, monotonic()
        return known

    return ask
