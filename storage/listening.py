"""LISTEN, on a connection of its own that is made again when it is lost."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import RetryLater
from storage.errors import translated

log = structlog.get_logger()

RECONNECT_S: Final = 1.0
# A connection that closes is noticed at once, a dead peer after this long at the latest.
PROBE_INTERVAL_S: Final = 15.0
PROBE_TIMEOUT_S: Final = 5.0


async def listen(
    engine: AsyncEngine,
    channel: str,
    on_notification: Callable[[str], None],
    on_listening: Callable[[], None] = lambda: None,
) -> None:
    """Call back with every payload until cancelled.

    Notifications sent while the connection was away are lost: `on_listening` is called each time that it
    stands, for the caller to look for itself; callers poll as well.
    """
    while True:
        try:
            with translated("listening"):
                await _listen_once(engine, channel, on_notification, on_listening)
        except RetryLater as error:
            log.warning("storage.listener_lost", channel=channel, reason=str(error))
        await asyncio.sleep(RECONNECT_S)


async def _listen_once(
    engine: AsyncEngine,
    channel: str,
    on_notification: Callable[[str], None],
    on_listening: Callable[[], None],
) -> None:
    def received(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        on_notification(str(payload))

    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        if not isinstance(driver, asyncpg.Connection):
            raise TypeError("LISTEN needs asyncpg")
        is_closed = asyncio.Event()
        driver.add_termination_listener(lambda _: is_closed.set())
        try:
            await driver.add_listener(channel, received)
            on_listening()
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(is_closed.wait(), PROBE_INTERVAL_S)
                await driver.fetchval("SELECT 1", timeout=PROBE_TIMEOUT_S)
        finally:
            # Not back to the pool: it listens, and may be dead.
            driver.terminate()
            await connection.invalidate()
