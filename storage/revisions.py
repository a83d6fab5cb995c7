"""Revisions above what is published already: a database that was restored from a backup has older ones."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, Text, bindparam, column, exists, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.reading import user_hash
from storage.tables import forgotten_users, users

UserKey = tuple[str, str]


async def raise_revisions(connection: AsyncConnection, published: Mapping[UserKey, int], now: datetime) -> int:
    """Let the next revision of each user be above the published one; returns how many were not above it before.

    A user whom the database does not know gets a row without memory, one who was forgotten goes on from there. Give it
    a thousand at a time.
    """
    keys = sorted(published)
    texts = {
        "project_id": [project_id for project_id, _ in keys],
        "user_id": [user_id for _, user_id in keys],
        "user_hash": [user_hash(*key) for key in keys],
    }
    known = (
        func.unnest(
            *(bindparam(name, values, ARRAY(Text)) for name, values in texts.items()),
            bindparam("revision", [published[key] for key in keys], ARRAY(BigInteger)),
        )
        .table_valued(*(column(name, Text) for name in texts), column("revision", BigInteger))
        .render_derived("published")
    )
    owners = (users.c.project_id == known.c.project_id, users.c.user_id == known.c.user_id)
    hashes = forgotten_users.c.user_hash == known.c.user_hash
    statements = (
        update(users).values(revision=known.c.revision).where(*owners, users.c.revision < known.c.revision),
        update(forgotten_users)
        .values(last_revision=known.c.revision)
        .where(hashes, forgotten_users.c.last_revision < known.c.revision, ~exists().where(*owners)),
        insert(users).from_select(
            ["project_id", "user_id", "revision", "created_at", "updated_at"],
            select(
                *(known.c[name] for name in ("project_id", "user_id", "revision")),
                literal(now, users.c.created_at.type),
                literal(now, users.c.updated_at.type),
            ).where(~exists().where(*owners), ~exists().where(hashes)),
            include_defaults=False,
        ),
    )
    return sum([(await connection.execute(statement)).rowcount for statement in statements])
