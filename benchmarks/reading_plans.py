"""How Postgres answers the statements of reading: their plans, run once, with buffers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from benchmarks.loading import PROJECT_ID
from schemas.settings import StorageSettings
from storage.database import create_engine
from storage.recall import read_entries, read_recent_gists, read_similar_gists
from storage.search import Search, search


async def plans(database_url: str, user_id: str, question: str, vector: NDArray[np.float32]) -> dict[str, str]:
    """By what is read, in the order in which a request runs them."""
    now = datetime.now(UTC)
    times: dict[str, Any] = {"since": now - timedelta(days=180), "until": now + timedelta(days=1), "limit": 60}

    async def profile(connection: AsyncConnection) -> None:
        await read_entries(connection, PROJECT_ID, user_id)

    async def latest(connection: AsyncConnection) -> None:
        await read_recent_gists(connection, PROJECT_ID, user_id, **times)

    async def similar(connection: AsyncConnection) -> None:
        await read_similar_gists(connection, PROJECT_ID, user_id, vector, threshold=0.2, **times)

    async def hybrid(connection: AsyncConnection) -> None:
        wanted = Search(mode="hybrid", question=question, vector=vector, limit=10, now=now, threshold=0.2)
        await search(connection, PROJECT_ID, user_id, wanted)

    engine = create_engine(StorageSettings(database_url=SecretStr(database_url)))
    try:
        return {
            "profile": await _plan(engine, profile),
            "the latest gists of a context": await _plan(engine, latest),
            "gists of a context by meaning": await _plan(engine, similar),
            "hybrid search": await _plan(engine, hybrid),
        }
    finally:
        await engine.dispose()


async def _plan(engine: AsyncEngine, read: Any) -> str:
    """The plan of the one statement that `read` runs."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    async with engine.connect() as connection:
        event.listen(engine.sync_engine, "before_cursor_execute", note)
        try:
            await read(connection)
        finally:
            event.remove(engine.sync_engine, "before_cursor_execute", note)
        ((statement, parameters),) = seen
        lines = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
        return "\n".join(line for (line,) in lines)
