"""Vectors of a second model beside those in use: begun, and ended either way, by one short transaction each."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sqlalchemy import func, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.errors import RetryLater
from schemas.memory import EmbeddingModel
from storage.errors import sqlstate, translated
from storage.tables import schema_info

T = TypeVar("T")

# In the order in which an extraction takes them, and what of each is embedded.
TEXTS: Final = {
    "profiles": "topic || ' ' || sub_topic || ' ' || content",
    "events": "coalesce(summary, '')",
    "gists": "text",
}
# Of the texts of a table that are embedded at all.
HAS_TEXT: Final = {"profiles": "true", "events": "summary <> ''", "gists": "true"}
# Below Postgres' own deadlock_timeout of 1 s: where two wait for each other it is we who give way, and nobody of those
# who come after us waits for longer.
LOCK_TIMEOUT_MS: Final = 500
LOCK_ATTEMPTS: Final = 120
LOCK_PAUSE_S: Final = 0.5
_LOCK_NOT_AVAILABLE: Final = "55P03"
_DEADLOCK: Final = "40P01"


async def begin(connection: AsyncConnection, target: EmbeddingModel) -> None:
    """Make room for the vectors of another model, empty, and every text due; the caller has checked that none is there.

    No row is written: a column with a constant default is a matter of the catalogue.
    """
    for table in TEXTS:
        await connection.execute(text(f"ALTER TABLE {table} DROP COLUMN next_embedding, DROP COLUMN next_embed_after"))
        await connection.execute(
            text(
                f"ALTER TABLE {table} ADD COLUMN next_embedding halfvec({target.dimension:d}), "
                "ADD COLUMN next_embed_after timestamptz DEFAULT '-infinity'"
            )
        )
    await connection.execute(
        update(schema_info).values(
            next_embedding_model=target.name, next_embedding_dimension=target.dimension, next_ready_at=None
        )
    )


async def say_ready(connection: AsyncConnection) -> None:
    """Let processes start with the model that is to follow."""
    await connection.execute(
        update(schema_info)
        .where(schema_info.c.next_embedding_model.is_not(None), schema_info.c.next_ready_at.is_(None))
        .values(next_ready_at=func.clock_timestamp())
    )


async def cut_over(connection: AsyncConnection) -> None:
    """Put the columns of the model that follows in the place of those in use, whose vectors go."""
    for table in TEXTS:
        for statement in (
            f"DROP INDEX ix_{table}_embed_after",
            f"ALTER TABLE {table} DROP COLUMN embedding, DROP COLUMN embed_after",
            f"ALTER TABLE {table} RENAME COLUMN next_embedding TO embedding",
            f"ALTER TABLE {table} RENAME COLUMN next_embed_after TO embed_after",
            f"ALTER INDEX ix_{table}_next_embed_after RENAME TO ix_{table}_embed_after",
        ):
            await connection.execute(text(statement))
        await _add_empty(connection, table)
    await connection.execute(
        update(schema_info).values(
            embedding_model=schema_info.c.next_embedding_model,
            embedding_dimension=schema_info.c.next_embedding_dimension,
            next_embedding_model=None,
            next_embedding_dimension=None,
            next_ready_at=None,
        )
    )


async def abandon(connection: AsyncConnection) -> None:
    """Take the vectors of the model that was to follow away; the tables are as they were before."""
    for table in TEXTS:
        # With its index.
        await connection.execute(text(f"ALTER TABLE {table} DROP COLUMN next_embedding, DROP COLUMN next_embed_after"))
        await _add_empty(connection, table)
    await connection.execute(
        update(schema_info).values(next_embedding_model=None, next_embedding_dimension=None, next_ready_at=None)
    )


async def exclusively(engine: AsyncEngine, change: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Run `change` in a transaction that has the tables for itself, for moments; who comes meanwhile waits.

    While others hold them it gives way and tries again, for a minute or two. Raises RetryLater after that, and where
    Postgres is away.
    """
    for _ in range(LOCK_ATTEMPTS):
        try:
            with translated("changing the columns of embeddings"):
                async with engine.begin() as connection:
                    await connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
                    await connection.execute(text(f"LOCK TABLE {', '.join(TEXTS)} IN ACCESS EXCLUSIVE MODE"))
                    return await change(connection)
        except RetryLater as error:
            if error.__cause__ is None or sqlstate(error.__cause__) not in (_LOCK_NOT_AVAILABLE, _DEADLOCK):
                raise
        await asyncio.sleep(LOCK_PAUSE_S * (1 + random.random()))
    raise RetryLater(
        f"the tables were busy at each of {LOCK_ATTEMPTS} tries: end long transactions (pg_stat_activity), or call "
        "again in a quieter hour"
    )


async def _add_empty(connection: AsyncConnection, table: str) -> None:
    await connection.execute(
        text(f"ALTER TABLE {table} ADD COLUMN next_embedding halfvec, ADD COLUMN next_embed_after timestamptz")
    )
