"""Keeps this worker in the registry while it runs; the buffer does its work whether Postgres is there or not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import ConfigurationError, RetryLater
from storage.errors import CONNECTION_ERRORS, translated
from storage.workers import RegisteredWorker, beat, leave

BEAT_S: Final = 3.0
# Three beats may be missed; one that is killed is asked in vain for this long.
LIFETIME_S: Final = 10.0
# Of one look at the database.
TIMEOUT_S: Final = 3.0

log = structlog.get_logger()


@asynccontextmanager
async def registered(engine: AsyncEngine, worker: RegisteredWorker) -> AsyncIterator[None]:
    """In the registry while the block runs, as soon and as long as Postgres answers."""
    beating = asyncio.create_task(_keep_beating(engine, worker), name="worker-registry")
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait([beating])
        await _tried(engine, worker, stays=False)


async def _keep_beating(engine: AsyncEngine, worker: RegisteredWorker) -> None:
    was_refused = False
    while True:
        refusal = await _tried(engine, worker, stays=True)
        if refusal is not None and not was_refused:
            log.warning("worker.not_registered", reason=refusal)
        elif refusal is None and was_refused:
            log.info("worker.registered")
        was_refused = refusal is not None
        await asyncio.sleep(BEAT_S)


async def _tried(engine: AsyncEngine, worker: RegisteredWorker, *, stays: bool) -> str | None:
    """Why the registry could not be written; None if it was."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            with translated("the registry of workers"):
                async with engine.begin() as connection:
                    if stays:
                        await beat(connection, worker, LIFETIME_S)
                    else:
                        await leave(connection, worker.worker_id)
    except (RetryLater, ConfigurationError) as error:
        return str(error)
    # Also a schema that does not fit: nothing of it may stop the buffer.
    except CONNECTION_ERRORS as error:
        return type(error).__name__
    return None
