"""The user's row: its lock makes everything that is written for one user happen one after the other."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, Text, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import RetryLater
from storage.compiled import Compiled, Record
from storage.reading import user_hash
from storage.tables import forgotten_users, users
from storage.writes import UpdateOf, Writes

# Columns that the rows of one memory of a user have in common, with the values of `LockedUser.owner`.
OWNER: Final = ("project_id", "user_id", "generation")
# Each try is lost only to others who make the same user, or forget it, and commit in between.
_TRIES: Final = 5

_NAMED: Final = (users.c.project_id == bindparam("project_id"), users.c.user_id == bindparam("user_id"))
_COUNTERS: Final = (users.c.revision, users.c.seq, users.c.live_generation)
_LOCK: Final = Compiled(select(*_COUNTERS).where(*_NAMED).with_for_update())
_CREATE: Final = Compiled(
    insert(users)
    .values(
        project_id=bindparam("project_id"),
        user_id=bindparam("user_id"),
        created_at=bindparam("now"),
        updated_at=bindparam("now"),
    )
    .on_conflict_do_nothing()
    .returning(*_COUNTERS)
)
_LEFT: Final = Compiled(
    select(forgotten_users.c.last_revision, forgotten_users.c.last_seq).where(
        forgotten_users.c.user_hash == bindparam("user_hash")
    )
)
_LOCK_NAME: Final = Compiled(
    select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("user_hash", type_=Text), 0)))
)
_COUNTED: Final = UpdateOf(users, key=("project_id", "user_id"), moved=("revision", "seq", "updated_at"))


@dataclass(frozen=True, slots=True)
class LockedUser:
    """A user's counters, as they are until the transaction ends; `is_new` where this transaction made the row."""

    project_id: str
    user_id: str
    revision: int
    seq: int
    live_generation: int
    is_new: bool = False

    @property
    def owner(self) -> dict[str, Any]:
        """What its live rows have in common."""
        return {"project_id": self.project_id, "user_id": self.user_id, "generation": self.live_generation}


async def lock_user(connection: AsyncConnection, project_id: str, user_id: str, now: datetime) -> LockedUser:
    """Lock the user's row until the transaction ends, creating it when missing.

    A user who was forgotten goes on from the last revision and `seq`.
    """
    key = {"project_id": project_id, "user_id": user_id}
    for _ in range(_TRIES):
        row = await _LOCK.row(connection, **key)
        if row is not None:
            return LockedUser(project_id, user_id, row["revision"], row["seq"], row["live_generation"])
        row = await _CREATE.row(connection, **key, now=now)
        if row is not None:
            user = LockedUser(project_id, user_id, row["revision"], row["seq"], row["live_generation"], is_new=True)
            # Read after the insert: while that waits for a forget, it does not see what the forget leaves.
            former = await _LEFT.row(connection, user_hash=user_hash(project_id, user_id))
            return user if former is None else await _come_back(connection, user, former)
    raise RetryLater("Postgres, locking a user: the row was removed again and again")


async def _come_back(connection: AsyncConnection, user: LockedUser, former: Record) -> LockedUser:
    counters = {"revision": former["last_revision"], "seq": former["last_seq"]}
    await connection.execute(update(users).where(*_is(user.project_id, user.user_id)).values(counters))
    return replace(user, **counters)


async def lock_known_user(connection: AsyncConnection, project_id: str, user_id: str) -> LockedUser | None:
    """Lock the user's row until the transaction ends; None where there is none, and none is made."""
    row = await _LOCK.row(connection, project_id=project_id, user_id=user_id)
    if row is None:
        return None
    return LockedUser(project_id, user_id, row["revision"], row["seq"], row["live_generation"])


async def lock_name(connection: AsyncConnection, project_id: str, user_id: str) -> None:
    """Let no forget of the user pass before this transaction ends, whether the user has a row or not.

    Whoever locks the row as well locks that first.
    """
    await _LOCK_NAME.row(connection, user_hash=user_hash(project_id, user_id))


def live_rows(user: LockedUser, table: Table) -> tuple[ColumnElement[bool], ...]:
    """The user's rows of a table, those of the live generation."""
    return (
        table.c.project_id == user.project_id,
        table.c.user_id == user.user_id,
        table.c.generation == user.live_generation,
    )


def add_counters(writes: Writes, user: LockedUser, *, revision: int, seq: int, now: datetime) -> None:
    """Add the counters that a transaction has moved."""
    if (revision, seq) == (user.revision, user.seq):
        return
    counters = {
        "project_id": user.project_id,
        "user_id": user.user_id,
        "revision": revision,
        "seq": seq,
        # Stays as it is while the memory does.
        "updated_at": now if revision != user.revision else None,
    }
    writes.add(_COUNTED, [counters])


async def count_on(connection: AsyncConnection, user: LockedUser, *, revision: int, seq: int, now: datetime) -> None:
    """Store the counters that a transaction has moved."""
    writes = Writes()
    add_counters(writes, user, revision=revision, seq=seq, now=now)
    await writes.send(connection)


def _is(project_id: str, user_id: str) -> tuple[ColumnElement[bool], ...]:
    return users.c.project_id == project_id, users.c.user_id == user_id
