"""Reads a database as it is, whatever state it is in, and changes nothing; for diagnosis and health checks."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.memory import EmbeddingModel
from storage.migrate import current_revision, known_revisions
from storage.tables import held_windows, relays, schema_info

EXTENSION = "vector"


@dataclass(frozen=True, slots=True)
class Server:
    """The server; `major_version` is 18 for 18.4, `is_standby` one that takes no writes."""

    version: str
    user: str
    is_standby: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Extension:
    """pgvector: the version in this database, the one that the server could install, and whether we may do that."""

    installed: str | None
    available: str | None
    may_create: bool


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Where the tables stand. `revision` is None before the first migration, `pending` counts those not yet made.

    `is_known` is False for a revision of a newer program; `may_create` says whether we may make tables.
    """

    revision: str | None
    is_known: bool
    pending: int
    may_create: bool


@dataclass(frozen=True, slots=True)
class StoredEmbeddings:
    """What the database's vectors are of; the model is None until the first worker with embeddings.

    `next_model` is that of a `memostream reembed` under way, which may be started with once it `is_ready`.
    """

    dimension: int
    model: str | None
    next_model: EmbeddingModel | None = None
    is_ready: bool = False


@dataclass(frozen=True, slots=True)
class HeldSummary:
    """Held windows: how many, of how many users, since when, and why most of them are."""

    windows: int
    users: int
    oldest: datetime | None
    reason: str | None


async def read_server(connection: AsyncConnection) -> Server:
    query = text(
        "SELECT current_setting('server_version') AS version, current_user::text AS name, "
        "pg_is_in_recovery() AS is_standby, clock_timestamp() AS now"
    )
    row = (await connection.execute(query)).one()
    return Server(version=row.version, user=row.name, is_standby=row.is_standby, now=row.now)


async def read_extension(connection: AsyncConnection) -> Extension:
    # A trusted extension may be created by anybody who may create schemas in the database.
    query = text(
        "SELECT (SELECT extversion FROM pg_extension WHERE extname = :name) AS installed, "
        "(SELECT default_version FROM pg_available_extensions WHERE name = :name) AS available, "
        "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user) OR ("
        "has_database_privilege(current_database(), 'CREATE') AND "
        "EXISTS (SELECT FROM pg_available_extension_versions WHERE name = :name AND trusted)) AS may_create"
    )
    row = (await connection.execute(query, {"name": EXTENSION})).one()
    return Extension(row.installed, row.available, bool(row.may_create))


async def read_schema_state(connection: AsyncConnection) -> SchemaState:
    may_create = await connection.scalar(text("SELECT has_schema_privilege(current_schema(), 'CREATE')"))
    revision, path = await connection.run_sync(_revision)
    is_known = revision is None or revision in path
    pending = len(path) if revision is None else path.index(revision) if is_known else 0
    return SchemaState(revision, is_known, pending, bool(may_create))


async def read_stored_embeddings(connection: AsyncConnection) -> StoredEmbeddings:
    row = (await connection.execute(select(schema_info))).one()
    following = None
    if row.next_embedding_model is not None:
        following = EmbeddingModel(row.next_embedding_model, row.next_embedding_dimension)
    return StoredEmbeddings(row.embedding_dimension, row.embedding_model, following, row.next_ready_at is not None)


async def summarise_held(connection: AsyncConnection) -> HeldSummary:
    of_user = func.row(held_windows.c.project_id, held_windows.c.user_id)
    counts = select(func.count(), func.count(func.distinct(of_user)), func.min(held_windows.c.held_at)).select_from(
        held_windows
    )
    windows, users, oldest = (await connection.execute(counts)).one()
    reasons = select(held_windows.c.reason).group_by(held_windows.c.reason).order_by(func.count().desc()).limit(1)
    return HeldSummary(windows, users, oldest, await connection.scalar(reasons))


async def count_relays(connection: AsyncConnection) -> int:
    """Relays that have checked in lately, by the database's clock."""
    query = select(func.count()).select_from(relays).where(relays.c.expires_at > func.clock_timestamp())
    return int(await connection.scalar(query) or 0)


def _revision(connection: Connection) -> tuple[str | None, list[str]]:
    """The database's revision, and all that this program knows, the newest first."""
    return current_revision(connection), known_revisions()
