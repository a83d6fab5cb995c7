"""Faults of Postgres: away, cut off inside a transaction, locks crosswise, and nothing left of the pool."""

import asyncio
import contextlib
import time
from typing import Final

import asyncpg

from storage.database import APPLICATION_NAME
from tests.chaos.arena import Arena
from tests.chaos.faults.of_workers import NotReached

AWAY_S: Final = (0.5, 4.0)
LOOKED_FOR_S: Final = 30.0
POLL_S: Final = 0.02
CUT_SESSIONS: Final = 3
# Longer than a worker waits for a connection of its pool.
LOCKED_S: Final = 7.0
# Below Postgres' second of waiting, after which it looks for the cycle in the worker's session.
CROSSWISE_POLL_S: Final = 0.05


async def kill(arena: Arena) -> str:
    await arena.postgres.kill()
    await asyncio.sleep(arena.random.uniform(*AWAY_S))
    await arena.postgres.start()
    return ""


async def restart(arena: Arena) -> str:
    await arena.postgres.stop()
    await asyncio.sleep(arena.random.uniform(*AWAY_S))
    await arena.postgres.start()
    return ""


async def cut(arena: Arena) -> str:
    """End sessions of workers while they are inside a transaction."""
    connection = await arena.connect()
    deadline = time.monotonic() + LOOKED_FOR_S
    ended = 0
    try:
        while ended < CUT_SESSIONS:
            if time.monotonic() > deadline:
                raise NotReached("a session inside a transaction")
            ended += await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name = $1 AND xact_start IS NOT NULL AND pid <> pg_backend_pid()",
                APPLICATION_NAME,
            )
            await asyncio.sleep(POLL_S)
    finally:
        await connection.close()
    return f"{ended} sessions ended"


async def deadlock(arena: Arena) -> str:
    """Hold a row that a worker writes under a user's lock, then ask for the user: Postgres ends the worker's try."""
    before = await _deadlocks(arena)
    deadline = time.monotonic() + LOOKED_FOR_S
    while time.monotonic() < deadline:
        await _lock_crosswise(arena)
        # The counter is written a moment later.
        await asyncio.sleep(0.5)
        if (seen := await _deadlocks(arena)) > before:
            return f"{seen - before} deadlocks"
    raise NotReached("a deadlock")


async def _lock_crosswise(arena: Arena) -> None:
    connection = await arena.connect()
    try:
        # Ours must not be the session that notices.
        await connection.execute("SET deadlock_timeout = '20s'")
        # Where it is ours after all, nothing was tried, and the caller tries again.
        with contextlib.suppress(asyncpg.DeadlockDetectedError):
            async with connection.transaction():
                await connection.execute("SELECT 1 FROM profiles FOR UPDATE")
                # Workers wait for each other, too; only one that waits for us has locked its user before.
                if await _waiting_worker(arena, LOCKED_S, connection.get_server_pid()) is not None:
                    await connection.execute("SELECT 1 FROM users FOR UPDATE")
    finally:
        await connection.close()


async def _waiting_worker(arena: Arena, timeout_s: float, blocked_by: int | None = None) -> int | None:
    """The session of a worker that waits for a lock now, of that session where one is named."""
    connection = await arena.connect()
    deadline = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            found: int | None = await connection.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock' "
                "AND ($2::int IS NULL OR $2 = ANY(pg_blocking_pids(pid))) LIMIT 1",
                APPLICATION_NAME,
                blocked_by,
            )
            if found is not None:
                return found
            await asyncio.sleep(CROSSWISE_POLL_S)
    finally:
        await connection.close()
    return None


async def _deadlocks(arena: Arena) -> int:
    connection = await arena.connect()
    try:
        return int(
            await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        )
    finally:
        await connection.close()


async def serialization_failure(arena: Arena) -> str:
    """Let workers run at a level where a row that was changed since they began is an error, and change their users."""
    connection = await arena.connect()
    try:
        await connection.execute("ALTER DATABASE chaos SET default_transaction_isolation = 'repeatable read'")
        # A session keeps the level that it has begun with.
        await _end_sessions(connection)
        for _ in range(4):
            async with connection.transaction(isolation="read_committed"):
                await connection.execute("UPDATE users SET updated_at = updated_at")
                await asyncio.sleep(1.0)
            await asyncio.sleep(0.5)
        await connection.execute("ALTER DATABASE chaos RESET default_transaction_isolation")
        await _end_sessions(connection)
    finally:
        await connection.close()
    return ""


async def exhaust_pool(arena: Arena) -> str:
    """Lock every user for longer than a worker waits for a connection: all that it has wait, and the rest, too."""
    connection = await arena.connect()
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM users FOR UPDATE")
            if await _waiting_worker(arena, LOOKED_FOR_S) is None:
                raise NotReached("a session that waits for a user")
            await asyncio.sleep(LOCKED_S)
            waiting = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'",
                APPLICATION_NAME,
            )
    finally:
        await connection.close()
    return f"{waiting} sessions waited {LOCKED_S:g} s"


async def _end_sessions(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", APPLICATION_NAME
    )
