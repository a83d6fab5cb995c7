"""Forgets what extraction spent long ago."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import RetryLater
from storage.errors import translated
from storage.usage import prune_usage

EVERY_S: Final = 24 * 3600.0
RETRY_S: Final = 300.0
# So few that no transaction takes long.
BATCH_ROWS: Final = 10_000

log = structlog.get_logger()


async def keep_usage_short(engine: AsyncEngine, retention_days: int, now: Callable[[], datetime]) -> None:
    """Remove rows that are older, now and once a day, until cancelled; several workers may do it at once."""
    while True:
        delay_s = EVERY_S
        try:
            await prune(engine, now() - timedelta(days=retention_days))
        except RetryLater as error:
            log.warning("usage.pruning_put_off", reason=str(error))
            delay_s = RETRY_S
        await asyncio.sleep(delay_s)


async def prune(engine: AsyncEngine, before: datetime, batch_rows: int = BATCH_ROWS) -> None:
    """Remove all rows that are older, in batches; raises RetryLater if Postgres is away."""
    rows = batch_rows
    while rows == batch_rows:
        with translated("pruning usage"):
            async with engine.begin() as connection:
                rows = await prune_usage(connection, before, batch_rows)
