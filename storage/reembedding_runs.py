"""Who embeds by the model that is to follow, and the indexes by which they find what is missing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.errors import Conflict
from storage.errors import CONNECTION_ERRORS, translated
from storage.reembedding import HAS_TEXT, TEXTS
from storage.tables import schema_info

# Any number of our own: held by those that embed, so that one who comes alone knows that nobody else does.
_RUN_LOCK: Final = 0x6D656D72
_INDEX_LOCK: Final = 0x6D656D73
LOCK_POLL_S: Final = 0.2


@asynccontextmanager
async def registered_run(engine: AsyncEngine, when_alone: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """While the block runs, count as one that embeds; `when_alone` is called first where nobody else does, nor comes.

    Postgres forgets it with the connection, so also when the process is killed.
    """
    async with engine.connect() as connection:
        session = await connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            if await session.scalar(select(func.pg_try_advisory_lock(_RUN_LOCK))):
                await when_alone()
                await session.execute(select(func.pg_advisory_lock_shared(_RUN_LOCK)))
                await session.execute(select(func.pg_advisory_unlock(_RUN_LOCK)))
            else:
                while not await session.scalar(select(func.pg_try_advisory_lock_shared(_RUN_LOCK))):
                    await asyncio.sleep(LOCK_POLL_S)
            yield
        finally:
            # Where the connection was lost, so were its locks.
            with suppress(SQLAlchemyError, *CONNECTION_ERRORS):
                await session.execute(select(func.pg_advisory_unlock_all()))


async def count_runs(connection: AsyncConnection) -> int:
    """Processes that embed at this moment."""
    query = text(
        "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = :key AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return int(await connection.scalar(query, {"key": _RUN_LOCK}) or 0)


async def build_indexes(engine: AsyncEngine) -> None:
    """Indexes of what is missing, built while others write; one that a killed build has left is built anew.

    Without waiting inside a statement: a build waits for every transaction that is older, and would wait for us.
    """
    with translated("building indexes"):
        async with engine.connect() as connection:
            session = await connection.execution_options(isolation_level="AUTOCOMMIT")
            while not await session.scalar(select(func.pg_try_advisory_lock(_INDEX_LOCK))):
                await asyncio.sleep(LOCK_POLL_S)
            try:
                for table in TEXTS:
                    await _build_index(session, table)
            finally:
                await session.execute(select(func.pg_advisory_unlock(_INDEX_LOCK)))


async def check_indexes(connection: AsyncConnection) -> None:
    """Raise Conflict where one is missing or half built."""
    for table in TEXTS:
        if not await _is_built(connection, table):
            raise Conflict("the indexes of what is missing are not there yet: call again")


async def _build_index(session: AsyncConnection, table: str) -> None:
    is_built = await _is_built(session, table)
    is_begun = await session.scalar(select(schema_info.c.next_embedding_model.is_not(None)))
    if is_built or not is_begun:
        return
    name = f"ix_{table}_next_embed_after"
    if is_built is False:
        await session.execute(text(f"DROP INDEX CONCURRENTLY {name}"))
    has_text = "" if HAS_TEXT[table] == "true" else f" AND {HAS_TEXT[table]}"
    await session.execute(
        text(
            f"CREATE INDEX CONCURRENTLY {name} ON {table} (next_embed_after) "
            f"WHERE next_embedding IS NULL AND next_embed_after IS NOT NULL{has_text}"
        )
    )


async def _is_built(connection: AsyncConnection, table: str) -> bool | None:
    """None where there is no such index."""
    query = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    found: bool | None = await connection.scalar(query, {"name": f"ix_{table}_next_embed_after"})
    return found
