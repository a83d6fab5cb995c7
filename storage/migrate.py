"""Brings a database to the newest schema, under a lock, so that every worker may call it at its start."""

from pathlib import Path
from typing import Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from schemas.errors import ConfigurationError, RetryLater
from storage.database import APPLICATION_NAME
from storage.errors import describe, may_pass, sqlstate
from storage.tables import schema_info

MIGRATIONS: Final = Path(__file__).parent / "migrations"
CONNECT_TIMEOUT_S: Final = 10.0
# Any number of our own; held until the transaction ends.
_ADVISORY_LOCK: Final = 0x6D656D6F
_UNDEFINED_FILE: Final = "58P01"
_FEATURE_NOT_SUPPORTED: Final = "0A000"
_UNDEFINED_OBJECT: Final = "42704"
_INSUFFICIENT_PRIVILEGE: Final = "42501"


async def migrate(database_url: str, *, embedding_dimension: int, embedding_model: str | None = None) -> None:
    """Create or upgrade the schema, all or nothing; concurrent callers wait for one another.

    Raises RetryLater if the database is away, and ConfigurationError if it does not let us in, is newer than this
    program, is not in UTF8, lacks pgvector, or holds embeddings of another dimension or, where both are known, of
    another model, and none of this one that are ready to be searched.
    """
    try:
        engine = create_async_engine(
            database_url,
            poolclass=NullPool,
            hide_parameters=True,
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                "server_settings": {"application_name": f"{APPLICATION_NAME}-migrate"},
            },
        )
    except ArgumentError:
        raise ConfigurationError("storage.database_url is no database URL") from None
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            await _check_encoding(connection)
            await connection.run_sync(_upgrade, embedding_dimension)
            await check_embeddings(connection, embedding_dimension, embedding_model)
            await _note_model(connection, embedding_dimension, embedding_model)
    except CommandError as error:
        raise ConfigurationError(
            "the database was made by a newer memostream: upgrade this one, or choose another database"
        ) from error
    except (OSError, TimeoutError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _translated(error) from error
    finally:
        await engine.dispose()


def known_revisions() -> list[str]:
    """The revisions that this program can bring a database to, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def current_revision(connection: Connection) -> str | None:
    """The database's own revision; None where nothing was migrated yet."""
    return MigrationContext.configure(connection).get_current_revision()


def _config(**attributes: object) -> Config:
    # The path separator only silences a warning about a legacy one; the output would go to stdout.
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection, embedding_dimension: int) -> None:
    command.upgrade(_config(connection=connection, embedding_dimension=embedding_dimension), "head")


async def _check_encoding(connection: AsyncConnection) -> None:
    """Else the first text that is no ASCII could not be taken apart into words, and the worker would end."""
    encoding = await connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the database's encoding is {encoding}, it must be UTF8: create another with ENCODING 'UTF8' and "
            "TEMPLATE template0"
        )


async def check_embeddings(connection: AsyncConnection, dimension: int, model: str | None) -> None:
    """Raise ConfigurationError, as `migrate` does, for a database whose embeddings are not of this model."""
    info = (await connection.execute(select(schema_info))).one()
    if info.next_embedding_dimension == dimension and model in (None, info.next_embedding_model):
        if info.next_ready_at is None and (model is not None or info.embedding_dimension != dimension):
            raise ConfigurationError(
                f"the embeddings of {info.next_embedding_model} are still being made: start with this configuration "
                "when `memostream reembed status` says that they are ready"
            )
        return
    if info.embedding_dimension != dimension:
        raise ConfigurationError(
            f"the database holds embeddings of {info.embedding_dimension} dimensions, embedding.dimension is "
            f"{dimension}: set it back, choose another database, or make others by `memostream reembed`"
        )
    if None not in (model, info.embedding_model) and info.embedding_model != model:
        raise ConfigurationError(
            f"the database holds embeddings of {info.embedding_model}, embedding.model is {model}, and they "
            "cannot be compared: set it back, choose another database, or make others by `memostream reembed`"
        )


async def _note_model(connection: AsyncConnection, dimension: int, model: str | None) -> None:
    """Of the first worker with embeddings."""
    of_nobody = (schema_info.c.embedding_model.is_(None), schema_info.c.embedding_dimension == dimension)
    if model is not None:
        await connection.execute(update(schema_info).where(*of_nobody).values(embedding_model=model))


def _translated(error: BaseException) -> ConfigurationError | RetryLater:
    advice = (
        f"the database of storage.database_url cannot be reached or migrated ({describe(error)}): "
        "check that it runs, and the address, user, password and database name"
    )
    if may_pass(error):
        return RetryLater(advice)
    state = sqlstate(error)
    if state in (_UNDEFINED_FILE, _FEATURE_NOT_SUPPORTED):
        return ConfigurationError("the database has no pgvector: install it on the server")
    if state == _UNDEFINED_OBJECT:
        return ConfigurationError(
            "pgvector has no halfvec: install 0.7 or newer on the server, then run ALTER EXTENSION vector UPDATE"
        )
    if state == _INSUFFICIENT_PRIVILEGE:
        return ConfigurationError(
            "the database user may not create extensions or tables: run CREATE EXTENSION vector as a "
            "superuser, and grant CREATE on the schema"
        )
    return ConfigurationError(advice)
