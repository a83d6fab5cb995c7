"""The engine: asyncpg with our session settings."""

import time
from typing import Any, Final

import orjson
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from schemas.settings import StorageSettings

APPLICATION_NAME = "memostream"
# Longer than any statement of ours takes; what exceeds it waits for a server that is gone.
COMMAND_TIMEOUT_S = 60.0
# A connection that was not used for so long is asked whether it is still there: a firewall may have forgotten it.
QUIET_S: Final = 30.0


def create_engine(settings: StorageSettings, command_timeout_s: float = COMMAND_TIMEOUT_S) -> AsyncEngine:
    """An engine that connects at its first use. `command_timeout_s` is how long a statement may take.

    It keeps `storage.pool_size` connections, and opens as many more while all of them are in use.

    The server ends a session that idles inside a transaction: a frozen worker must not keep a user locked.
    """
    idle_timeout_ms = int(settings.idle_in_transaction_session_timeout_s * 1000)
    engine = create_async_engine(
        settings.database_url.get_secret_value(),
        pool_size=settings.pool_size,
        max_overflow=settings.pool_size,
        pool_timeout=settings.connect_timeout_s,
        # Parameters hold what users said, and would stand in every error's text.
        hide_parameters=True,
        json_serializer=_to_json,
        json_deserializer=orjson.loads,
        connect_args={
            "timeout": settings.connect_timeout_s,
            "command_timeout": command_timeout_s,
            "server_settings": {
                "application_name": APPLICATION_NAME,
                "idle_in_transaction_session_timeout": str(idle_timeout_ms),
            },
        },
    )
    _replace_lost_connections(engine)
    return engine


def _replace_lost_connections(engine: AsyncEngine) -> None:
    """Hand out living connections without asking Postgres each time, as SQLAlchemy's `pool_pre_ping` does.

    asyncpg knows that a connection was closed as soon as the event loop does; only a quiet one is asked.
    """

    driver_error = engine.dialect.loaded_dbapi.Error

    def look(connection: Any, record: Any, _: Any) -> None:
        if connection.driver_connection.is_closed():
            raise DisconnectionError("the server has closed this connection")
        if time.monotonic() - record.info["returned_at"] > QUIET_S:
            try:
                connection.ping()
            except (driver_error, OSError) as error:
                raise DisconnectionError("this connection does not answer") from error

    def note(_: Any, record: Any) -> None:
        record.info["returned_at"] = time.monotonic()

    event.listen(engine.sync_engine, "connect", note)
    event.listen(engine.sync_engine, "checkin", note)
    event.listen(engine.sync_engine, "checkout", look)


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()
