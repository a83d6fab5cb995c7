"""Projects' tokens: only hashes are stored, and whoever keeps them in memory is told of every change."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from sqlalchemy import Select, Table, exists, func, select, union, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import project_tokens, projects, users

# The payload is the project's id.
CHANNEL: Final = "memostream_tokens"
SECRET_BYTES: Final = 24
ID_DIGITS: Final = 12

# As Memobase's: the project is all between `sk-` and the last dash. An id of 255 bytes has 765 characters at most.
_TOKEN: Final = re.compile(r"sk-([!-.0-~]{1,765})-([0-9a-f]{8,128})")


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token without its secret. `token_id` is the beginning of its hash."""

    token_id: str
    project_id: str
    label: str | None
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class KnownToken:
    """As much of a token as tells whether somebody holds it."""

    token_id: str
    token_hash: str
    is_revoked: bool


@dataclass(frozen=True, slots=True)
class ProjectAccess:
    """Who is let in to a project. One that was never created has no tokens."""

    tokens: tuple[KnownToken, ...]
    is_suspended: bool

    def find(self, token: str) -> KnownToken | None:
        """The token, also one that was revoked; how long it takes does not tell how much of it is right."""
        wanted, found = hash_of(token), None
        for known in self.tokens:
            if hmac.compare_digest(known.token_hash, wanted):
                found = known
        return found


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project that has a token, a configuration, a user, or that was suspended."""

    project_id: str
    is_suspended: bool
    has_config: bool
    tokens: tuple[TokenRow, ...]


def new_token(project_id: str) -> str:
    """A token for a project; nobody can find it in what is stored."""
    return f"sk-{quote(project_id, safe='')}-{secrets.token_hex(SECRET_BYTES)}"


def project_of(token: str) -> str | None:
    """The project that a token claims to open; None where it has not the shape of one."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    try:
        project_id = unquote_to_bytes(match[1]).decode()
    except UnicodeDecodeError:
        return None
    # Postgres knows no NUL in a text.
    return None if "\x00" in project_id else project_id


def hash_of(token: str) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def id_of(token: str) -> str:
    """The name under which a token is listed and revoked."""
    return hash_of(token)[:ID_DIGITS]


async def add_token(
    connection: AsyncConnection, project_id: str, token: str, label: str | None, now: datetime
) -> TokenRow:
    """Store a new token's hash, and the project if it is new, too."""
    await connection.execute(insert(projects).values(project_id=project_id, updated_at=now).on_conflict_do_nothing())
    row = TokenRow(id_of(token), project_id, label, now, None)
    await connection.execute(
        insert(project_tokens).values(
            token_id=row.token_id,
            project_id=project_id,
            token_hash=hash_of(token),
            label=label,
            created_at=now,
        )
    )
    await _notify(connection, project_id)
    return row


async def revoke_tokens(
    connection: AsyncConnection, project_id: str, token_ids: Sequence[str] | None, now: datetime
) -> list[str]:
    """Close tokens for ever, all of the project where none is named; returns those that were still open."""
    statement = update(project_tokens).where(
        project_tokens.c.project_id == project_id, project_tokens.c.revoked_at.is_(None)
    )
    if token_ids is not None:
        statement = statement.where(project_tokens.c.token_id.in_(token_ids))
    revoked = await connection.execute(statement.values(revoked_at=now).returning(project_tokens.c.token_id))
    found = sorted(revoked.scalars())
    if found:
        await _notify(connection, project_id)
    return found


async def suspend_project(connection: AsyncConnection, project_id: str, now: datetime) -> None:
    """Let nobody in, whatever token he has, until the project is resumed."""
    await _set_suspended(connection, project_id, now, now)


async def resume_project(connection: AsyncConnection, project_id: str, now: datetime) -> None:
    """Let those in again whose tokens were not revoked."""
    await _set_suspended(connection, project_id, None, now)


async def read_access(connection: AsyncConnection, project_id: str) -> ProjectAccess:
    """All that is asked of a project at its door."""
    query = (
        select(
            project_tokens.c.token_id,
            project_tokens.c.token_hash,
            project_tokens.c.revoked_at.is_not(None).label("is_revoked"),
            projects.c.suspended_at.is_not(None).label("is_suspended"),
        )
        .select_from(project_tokens)
        .outerjoin(projects, projects.c.project_id == project_tokens.c.project_id)
        .where(project_tokens.c.project_id == project_id)
    )
    rows = (await connection.execute(query)).all()
    tokens = tuple(KnownToken(row.token_id, row.token_hash, row.is_revoked) for row in rows)
    return ProjectAccess(tokens, any(row.is_suspended for row in rows))


async def has_tokens(connection: AsyncConnection) -> bool:
    """Whether any project has one that holds."""
    return bool(await connection.scalar(select(exists().where(project_tokens.c.revoked_at.is_(None)))))


async def read_projects(connection: AsyncConnection, project_id: str | None = None) -> list[ProjectRow]:
    """Every known project in the order of their ids, or one of them; of each its tokens, the oldest first."""

    def known_in(table: Table) -> Select[Any]:
        ids = select(table.c.project_id)
        if project_id is None:
            return ids
        # One row is enough, and there may be very many users.
        one = ids.where(table.c.project_id == project_id).limit(1).subquery()
        return select(one.c.project_id)

    names = union(*(known_in(table) for table in (projects, project_tokens, users))).subquery()
    query = (
        select(names.c.project_id, projects.c.suspended_at, projects.c.profile_config.is_not(None).label("has_config"))
        .select_from(names)
        .outerjoin(projects, projects.c.project_id == names.c.project_id)
        .order_by(names.c.project_id)
    )
    rows = (await connection.execute(query)).all()
    of_project: dict[str, list[TokenRow]] = {}
    tokens = select(project_tokens).order_by(project_tokens.c.created_at, project_tokens.c.token_id)
    if project_id is not None:
        tokens = tokens.where(project_tokens.c.project_id == project_id)
    for row in (await connection.execute(tokens)).all():
        token = TokenRow(row.token_id, row.project_id, row.label, row.created_at, row.revoked_at)
        of_project.setdefault(row.project_id, []).append(token)
    return [
        ProjectRow(
            row.project_id,
            row.suspended_at is not None,
            bool(row.has_config),
            tuple(of_project.get(row.project_id, ())),
        )
        for row in rows
    ]


async def _set_suspended(
    connection: AsyncConnection, project_id: str, suspended_at: datetime | None, now: datetime
) -> None:
    statement = insert(projects).values(project_id=project_id, updated_at=now, suspended_at=suspended_at)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[projects.c.project_id], set_={"suspended_at": statement.excluded.suspended_at}
        )
    )
    await _notify(connection, project_id)


async def _notify(connection: AsyncConnection, project_id: str) -> None:
    await connection.execute(select(func.pg_notify(CHANNEL, project_id)))
