"""The engine: asyncpg with our session settings."""

from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from schemas.settings import StorageSettings

APPLICATION_NAME = "memostream"
# Longer than any statement of ours takes; what exceeds it waits for a server that is gone.
COMMAND_TIMEOUT_S = 60.0


def create_engine(settings: StorageSettings) -> AsyncEngine:
    """An engine that connects at its first use.

    The server ends a session that idles inside a transaction: a frozen worker must not keep a user locked.
    """
    idle_timeout_ms = int(settings.idle_in_transaction_session_timeout_s * 1000)
    return create_async_engine(
        settings.database_url.get_secret_value(),
        pool_size=settings.pool_size,
        pool_timeout=settings.connect_timeout_s,
        pool_pre_ping=True,
        # Parameters hold what users said, and would stand in every error's text.
        hide_parameters=True,
        json_serializer=_to_json,
        json_deserializer=orjson.loads,
        connect_args={
            "timeout": settings.connect_timeout_s,
            "command_timeout": COMMAND_TIMEOUT_S,
            "server_settings": {
                "application_name": APPLICATION_NAME,
                "idle_in_transaction_session_timeout": str(idle_timeout_ms),
            },
        },
    )


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()
