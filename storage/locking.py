"""The user's row: its lock makes everything that is written for one user happen one after the other."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Table, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import RetryLater
from storage.reading import user_hash
from storage.tables import forgotten_users, users

# Each try is lost only to a forget of the same user that commits in between.
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class LockedUser:
    """A user's counters, as they are until the transaction ends; `is_new` where this transaction made the row."""

    project_id: str
    user_id: str
    revision: int
    seq: int
    live_generation: int
    is_new: bool = False


async def lock_user(connection: AsyncConnection, project_id: str, user_id: str, now: datetime) -> LockedUser:
    """Lock the user's row until the transaction ends, creating it when missing.

    A user who was forgotten goes on from the last revision and `seq`.
    """
    where = (users.c.project_id == project_id) & (users.c.user_id == user_id)
    create = (
        insert(users)
        .values(project_id=project_id, user_id=user_id, created_at=now, updated_at=now)
        .on_conflict_do_nothing()
        .returning(users.c.user_id)
    )
    # Read after the insert: while that waits for a forget, it does not see what the forget leaves.
    left = select(forgotten_users.c.last_revision, forgotten_users.c.last_seq).where(
        forgotten_users.c.user_hash == user_hash(project_id, user_id)
    )
    lock = select(users.c.revision, users.c.seq, users.c.live_generation).where(where).with_for_update()
    for _ in range(_TRIES):
        is_new = (await connection.execute(create)).first() is not None
        if is_new:
            former = (await connection.execute(left)).one_or_none()
            if former is not None:
                counters = {"revision": former.last_revision, "seq": former.last_seq}
                await connection.execute(update(users).where(where).values(counters))
        row = (await connection.execute(lock)).one_or_none()
        if row is not None:
            return LockedUser(project_id, user_id, row.revision, row.seq, row.live_generation, is_new)
    raise RetryLater("Postgres, locking a user: the row was removed again and again")


async def lock_known_user(connection: AsyncConnection, project_id: str, user_id: str) -> LockedUser | None:
    """Lock the user's row until the transaction ends; None where there is none, and none is made."""
    lock = (
        select(users.c.revision, users.c.seq, users.c.live_generation)
        .where(users.c.project_id == project_id, users.c.user_id == user_id)
        .with_for_update()
    )
    row = (await connection.execute(lock)).one_or_none()
    return None if row is None else LockedUser(project_id, user_id, row.revision, row.seq, row.live_generation)


def live_rows(user: LockedUser, table: Table) -> tuple[ColumnElement[bool], ...]:
    """The user's rows of a table, those of the live generation."""
    return (
        table.c.project_id == user.project_id,
        table.c.user_id == user.user_id,
        table.c.generation == user.live_generation,
    )


async def count_on(connection: AsyncConnection, user: LockedUser, *, revision: int, seq: int, now: datetime) -> None:
    """Store the counters that a transaction has moved."""
    if (revision, seq) == (user.revision, user.seq):
        return
    values: dict[str, object] = {"revision": revision, "seq": seq}
    if revision != user.revision:
        values["updated_at"] = now
    await connection.execute(
        update(users).where(users.c.project_id == user.project_id, users.c.user_id == user.user_id).values(values)
    )
