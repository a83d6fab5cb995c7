"""Opens the database for commands that write to it, or that say what they would write."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import ConfigurationError
from schemas.settings import StorageSettings
from storage.database import COMMAND_TIMEOUT_S, create_engine
from storage.errors import translated
from storage.inspection import SchemaState, read_schema_state


@asynccontextmanager
async def open_database(
    storage: StorageSettings, command_timeout_s: float = COMMAND_TIMEOUT_S
) -> AsyncIterator[AsyncEngine]:
    """An engine on a database of ours, as new as this program, closed on leaving.

    Raises ConfigurationError for any other, and RetryLater if Postgres is away. It is looked at once: a database may be
    brought further while a command runs.
    """
    engine = create_engine(storage, command_timeout_s)
    try:
        with translated("looking at the database"):
            async with engine.connect() as connection:
                check_schema(await read_schema_state(connection))
        yield engine
    finally:
        await engine.dispose()


def check_schema(schema: SchemaState) -> None:
    """Raise ConfigurationError unless the database is memostream's, and as new as this program."""
    if schema.revision is None:
        raise ConfigurationError(
            "the database has no tables of memostream: run `memostream migrate`, or check storage.database_url"
        )
    if not schema.is_known:
        raise ConfigurationError(
            f"the database is not of this memostream (revision {schema.revision}): upgrade this one, or check "
            "storage.database_url"
        )
    if schema.pending:
        raise ConfigurationError(
            "the database is older than this memostream: run `memostream migrate` with the configuration in use first"
        )
