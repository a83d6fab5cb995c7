"""Memobase's own Postgres database, read user by user; nothing is written to it."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import SecretStr, ValidationError
from sqlalchemy import (
    TIMESTAMP,
    Select,
    TableClause,
    Text,
    Uuid,
    bindparam,
    column,
    func,
    select,
    table,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.types import TypeEngine

from schemas.errors import ConfigurationError, RetryLater
from schemas.records import describe_validation_error
from schemas.settings import StorageSettings
from storage.database import create_engine
from storage.errors import CONNECTION_ERRORS, describe, may_pass, sqlstate

PAGE_USERS: Final = 500
VERSION: Final = "0.0.42"
_SCHEMES: Final = ("postgresql", "postgres")
_SHAPE: Final = "must be like postgresql://user:password@host:5432/memobase"
_ADVICE: Final = {
    "28000": "it does not let this user in",
    "28P01": "it refuses the password",
    "3D000": "there is no such database",
    "42501": "this user may not read its tables: grant SELECT on them",
}
_TIMES: Final = ("created_at", "updated_at")
_OWNED: Final = ("id", "user_id", "project_id", *_TIMES)


def _table(name: str, *columns: str) -> TableClause:
    """As far as it is read: vectors never are."""
    types: dict[str, TypeEngine[Any]] = {"id": Uuid(), "user_id": Uuid(), "event_id": Uuid(), "blob_id": Uuid()}
    types.update(dict.fromkeys(_TIMES, TIMESTAMP(timezone=True)))
    types.update(dict.fromkeys(("additional_fields", "attributes", "event_data", "gist_data", "blob_data"), JSONB()))
    return table(name, *(column(key, types.get(key, Text())) for key in columns))


_USERS: Final = _table("users", "id", "project_id", "additional_fields", *_TIMES)
_PROFILES: Final = _table("user_profiles", *_OWNED, "content", "attributes")
_EVENTS: Final = _table("user_events", *_OWNED, "event_data")
_GISTS: Final = _table("user_event_gists", *_OWNED, "event_id", "gist_data")
_BLOBS: Final = _table("general_blobs", *_OWNED, "blob_type", "blob_data", "additional_fields")
_BUFFERS: Final = _table("buffer_zones", *_OWNED, "blob_id", "status")
# An older server has no such table, and nothing in it is lost then.
_STATUSES: Final = _table("user_statuses", *_OWNED, "type", "attributes")
_NEEDED: Final = (_USERS, _PROFILES, _EVENTS, _GISTS, _BLOBS, _BUFFERS)

SourceKey = tuple[str, UUID]


class SourceRow(NamedTuple):
    """A row of a user's: its id, its times in UTC, and its other columns by name."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SourceUser:
    """All that Memobase has of a user, as of one moment; each kind the oldest first.

    `buffered` are the states of a blob in the buffer, by its id: `done` is one that is in memory.
    """

    project_id: str
    user_id: str
    fields: Mapping[str, Any] | None
    created_at: datetime
    updated_at: datetime
    profiles: Sequence[SourceRow]
    events: Sequence[SourceRow]
    gists: Sequence[SourceRow]
    blobs: Sequence[SourceRow]
    statuses: Sequence[SourceRow]
    buffered: Mapping[UUID, frozenset[str]]


@asynccontextmanager
async def open_source(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on Memobase's database. Raises ConfigurationError, which never quotes the connection string, for one
    that is none, and for a database that Memobase did not make, or another version of it.
    """
    engine = create_engine(StorageSettings(database_url=source_address(url), pool_size=1))
    try:
        async with reading(engine) as connection:
            await _check(connection)
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees one moment and writes nothing; raises RetryLater if the database is away."""
    with _translated():
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection


async def user_keys(engine: AsyncEngine, project_id: str | None = None) -> AsyncIterator[SourceKey]:
    """All users, or those of a project, in the order of their ids, a page at a time."""
    # As the primary key has them.
    place = (_USERS.c.id, _USERS.c.project_id)
    query = select(*place).order_by(*place).limit(PAGE_USERS)
    if project_id is not None:
        query = query.where(_USERS.c.project_id == project_id)
    last: SourceKey | None = None
    while True:
        page = query
        if last is not None:
            after = tuple_(bindparam(None, last[1], Uuid()), bindparam(None, last[0], Text()))
            page = query.where(tuple_(*place) > after)
        async with reading(engine) as connection:
            found = [(row.project_id, row.id) for row in (await connection.execute(page)).all()]
        for key in found:
            yield key
        if len(found) < PAGE_USERS:
            return
        last = found[-1]


async def read_user(engine: AsyncEngine, key: SourceKey) -> SourceUser | None:
    """A user with everything; None for one who is gone meanwhile."""
    project_id, user_id = key
    async with reading(engine) as connection:
        query = select(_USERS).where(_USERS.c.project_id == project_id, _USERS.c.id == user_id)
        user = (await connection.execute(query)).one_or_none()
        if user is None:
            return None
        statuses = await _of(connection, _STATUSES, key) if await _columns(connection, _STATUSES) else []
        buffered: dict[UUID, set[str]] = {}
        for row in await _of(connection, _BUFFERS, key):
            buffered.setdefault(row.values["blob_id"], set()).add(row.values["status"])
        return SourceUser(
            project_id=project_id,
            user_id=str(user_id),
            fields=user.additional_fields,
            created_at=_utc(user.created_at),
            updated_at=_utc(user.updated_at),
            profiles=await _of(connection, _PROFILES, key),
            events=await _of(connection, _EVENTS, key),
            gists=await _of(connection, _GISTS, key),
            blobs=await _of(connection, _BLOBS, key),
            statuses=statuses,
            buffered={blob_id: frozenset(states) for blob_id, states in buffered.items()},
        )


async def _of(connection: AsyncConnection, item: TableClause, key: SourceKey) -> list[SourceRow]:
    query: Select[Any] = (
        select(item).where(item.c.project_id == key[0], item.c.user_id == key[1]).order_by(item.c.created_at, item.c.id)
    )
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    return [SourceRow(row["id"], _utc(row["created_at"]), _utc(row["updated_at"]), row) for row in rows]


async def _check(connection: AsyncConnection) -> None:
    missing, lacking = [], []
    for item in _NEEDED:
        there = await _columns(connection, item)
        if not there:
            missing.append(item.name)
        lacking += [f"{item.name}.{name}" for name in item.c.keys() if there and name not in there]  # noqa: SIM118
    is_ours = bool(await _columns(connection, table("schema_info"))) and "live_generation" in await _columns(
        connection, _USERS
    )
    if is_ours:
        raise ConfigurationError("--from names a database of memostream, not of Memobase; `memostream export` reads it")
    if _PROFILES.name in missing or _USERS.name in missing:
        raise ConfigurationError("--from names a database that has no tables of Memobase: check its name and schema")
    if missing or lacking:
        raise ConfigurationError(
            f"--from names a database of another version of Memobase: it lacks {', '.join([*missing, *lacking])}; "
            f"let Memobase {VERSION} upgrade it first"
        )


async def _columns(connection: AsyncConnection, item: TableClause) -> frozenset[str]:
    """Names of a table's columns, empty where there is no such table; by the search path, as a query finds it."""
    attributes = table("pg_attribute", column("attrelid"), column("attname"), column("attnum"), schema="pg_catalog")
    query = select(attributes.c.attname.cast(Text)).where(
        attributes.c.attrelid == func.to_regclass(bindparam("name", item.name, Text())), attributes.c.attnum > 0
    )
    return frozenset((await connection.scalars(query)).all())


def source_address(url: str) -> SecretStr:
    """Memobase's connection string for our driver; raises ConfigurationError, which does not quote it."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in _SCHEMES:
        raise ConfigurationError(f"--from: {_SHAPE}")
    place, mark, options = rest.rpartition("?")
    # As libpq and Memobase's driver write it.
    rest = f"{place}?{options.replace('sslmode=', 'ssl=')}" if mark and "@" not in options else rest
    try:
        return StorageSettings(database_url=SecretStr(f"postgresql+asyncpg://{rest}")).database_url
    except ValidationError as error:
        detail = describe_validation_error(error).removeprefix("database_url: ")
        raise ConfigurationError(f"--from: {detail.replace('+asyncpg', '')}") from None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except CONNECTION_ERRORS as error:
        if (advice := _ADVICE.get(sqlstate(error) or "")) is not None:
            raise ConfigurationError(f"Memobase's database: {advice}; check --from") from error
        if not may_pass(error):
            raise
        raise RetryLater(f"Memobase's database: {describe(error)}") from error


def _utc(moment: datetime) -> datetime:
    # Older servers wrote times without a zone.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
