"""The monthly partitions of `units`."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.errors import RetryLater
from storage.errors import translated
from storage.units import month_start, partition_name

LOCK_TIMEOUT_MS: Final = 5000
EVERY_S: Final = 24 * 3600.0
RETRY_S: Final = 300.0

log = structlog.get_logger()


async def keep_unit_partitions(engine: AsyncEngine, now: Callable[[], datetime]) -> None:
    """Make the partitions that are missing, now and once a day, until cancelled; units need none to be written."""
    while True:
        delay_s = EVERY_S
        try:
            with translated("making partitions of units"):
                async with engine.begin() as connection:
                    await ensure_unit_partitions(connection, now())
        except RetryLater as error:
            log.warning("storage.partitions_put_off", reason=str(error))
            delay_s = RETRY_S
        await asyncio.sleep(delay_s)


async def ensure_unit_partitions(connection: AsyncConnection, now: datetime) -> None:
    """Create this month's and next month's partition, where missing; call it at the start and once a day.

    In a transaction of its own: it gives up on a lock after a few seconds, which may be tried again later.

    A month for which the default partition holds rows already stays there: they cannot be moved without a
    lock on all units, and reading is the same.
    """
    # Making a partition waits for whoever reads units, and makes others wait meanwhile.
    await connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
    for months_later in (0, 1):
        start = month_start(now.astimezone(UTC), months_later)
        end = month_start(start, 1)
        # One statement, so that it is decided and done under one lock; identifiers and bounds are our own.
        await connection.execute(
            text(f"""
            DO $$ BEGIN
                PERFORM pg_advisory_xact_lock(hashtext('memostream units partitions'));
                IF to_regclass('{partition_name(start)}') IS NULL AND NOT EXISTS (
                    SELECT FROM units_default
                    WHERE recorded_at >= '{start.isoformat()}' AND recorded_at < '{end.isoformat()}'
                ) THEN
                    CREATE TABLE {partition_name(start)} PARTITION OF units
                    FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}');
                END IF;
            -- A row of the month came into the default partition after the look and before the lock.
            EXCEPTION WHEN check_violation THEN NULL;
            END $$
            """)
        )
