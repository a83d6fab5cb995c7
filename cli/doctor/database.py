"""Checks of the database: reached, entered, equipped, migrated, of our embeddings, with nothing piling up in it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.doctor.database_rules import (
    judge_clock,
    judge_embeddings,
    judge_entry,
    judge_extension,
    judge_held,
    judge_outbox,
    judge_projects,
    judge_schema,
)
from cli.doctor.findings import Finding, failed, ok, skipped
from cli.doctor.running import Check, Surroundings
from schemas.settings import StorageSettings
from storage.database import create_engine
from storage.errors import CONNECTION_ERRORS, describe, sqlstate, translated
from storage.inspection import (
    count_relays,
    read_extension,
    read_schema_state,
    read_server,
    read_stored_embeddings,
    summarise_held,
)
from storage.outbox import backlog
from storage.projects import read_project_configs

ADVICE: Final = "check storage.database_url, that Postgres runs there, and the firewall"
NO_TABLES: Final = "there are no tables yet"
OLD_TABLES: Final = "the tables are older than this memostream"


@asynccontextmanager
async def connected(storage: StorageSettings) -> AsyncIterator[AsyncConnection]:
    """A connection of its own; raises what the driver raises."""
    engine = create_engine(storage)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def check_database(surroundings: Surroundings) -> Sequence[Finding]:
    storage = surroundings.settings.storage
    try:
        where = address_of(storage)
    except (ArgumentError, ValueError):
        return [failed("storage.database_url is no database URL", "postgresql+asyncpg://user:password@host:5432/name")]
    try:
        async with connected(storage) as connection:
            server = await read_server(connection)
    except CONNECTION_ERRORS as error:
        return [judge_entry(where, sqlstate(error), describe(error))]
    if server.is_standby:
        return [failed(f"{where} is a standby, which takes no writes", "point storage.database_url to the primary")]
    return [ok(f"PostgreSQL {server.version.split()[0]}, {where}")]


def address_of(storage: StorageSettings) -> str:
    """Database and host, for a person; neither user nor password."""
    url = make_url(storage.database_url.get_secret_value())
    host = url.host or url.query.get("host") or "127.0.0.1"
    return f"database {url.database} at {host}{f':{url.port}' if url.port else ''}"


async def check_extension(surroundings: Surroundings) -> Sequence[Finding]:
    async with _reading(surroundings) as connection:
        return [judge_extension(await read_extension(connection))]


async def check_migrations(surroundings: Surroundings) -> Sequence[Finding]:
    async with _reading(surroundings) as connection:
        return [judge_schema(await read_schema_state(connection))]


async def check_embeddings(surroundings: Surroundings) -> Sequence[Finding]:
    settings = surroundings.settings
    async with _reading(surroundings) as connection:
        schema = await read_schema_state(connection)
        if schema.revision is None:
            return [skipped(NO_TABLES)]
        if schema.pending:
            return [skipped(OLD_TABLES)]
        stored = await read_stored_embeddings(connection)
    return judge_embeddings(
        stored, settings.embedding_dimension, settings.embedding_model if settings.embedding.enabled else None
    )


async def check_held(surroundings: Surroundings) -> Sequence[Finding]:
    async with _reading(surroundings) as connection:
        if (await read_schema_state(connection)).revision is None:
            return [skipped(NO_TABLES)]
        return [judge_held(await summarise_held(connection), surroundings.now())]


async def check_outbox(surroundings: Surroundings) -> Sequence[Finding]:
    async with _reading(surroundings) as connection:
        if (await read_schema_state(connection)).revision is None:
            return [skipped(NO_TABLES)]
        rows, oldest = await backlog(connection)
        server = await read_server(connection)
        # The rows were dated by workers; how long they wait is told by the same kind of clock as well as it can be.
        return [judge_outbox(rows, oldest, await count_relays(connection), server.now)]


async def check_projects(surroundings: Surroundings) -> Sequence[Finding]:
    async with _reading(surroundings) as connection:
        if (await read_schema_state(connection)).revision is None:
            return [skipped(NO_TABLES)]
        return judge_projects(surroundings.settings, await read_project_configs(connection))


async def check_clock(surroundings: Surroundings) -> Sequence[Finding]:
    async with _reading(surroundings) as connection:
        # The first query of a connection is slow.
        await read_server(connection)
        before = surroundings.now()
        server = await read_server(connection)
        return [judge_clock(_middle(before, surroundings.now()), server.now)]


@asynccontextmanager
async def _reading(surroundings: Surroundings) -> AsyncIterator[AsyncConnection]:
    with translated("reading"):
        async with connected(surroundings.settings.storage) as connection:
            yield connection


def _middle(before: datetime, after: datetime) -> datetime:
    return before + (after - before) / 2


CHECKS: Final = (
    Check("database", check_database, ADVICE),
    Check("extension", check_extension, ADVICE, needs=("database",)),
    Check("migrations", check_migrations, ADVICE, needs=("database", "extension")),
    Check("embeddings", check_embeddings, ADVICE, needs=("migrations",)),
    Check("held-windows", check_held, ADVICE, needs=("migrations",)),
    Check("outbox", check_outbox, ADVICE, needs=("migrations",)),
    Check("projects", check_projects, ADVICE, needs=("migrations",)),
    Check("database-clock", check_clock, ADVICE, needs=("database",)),
)
