"""Windows of users who must wait: held in order, retried by a timer, so that a partition never stands still."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.windows import Position, Window, WindowCommand, decode_window
from storage.compiled import Compiled
from storage.ledger import ledger_id_of
from storage.tables import held_windows
from storage.text import storable

# The reason of those who wait for the next day.
BUDGET: Final = "budget"

_FIRST: Final = Compiled(
    select(held_windows.c.reason)
    .where(held_windows.c.project_id == bindparam("project_id"), held_windows.c.user_id == bindparam("user_id"))
    .order_by(held_windows.c.number)
    .limit(1),
    alone=True,
)


@dataclass(frozen=True, slots=True)
class HeldRecord:
    """A held window or command. `position` is that on extraction-windows; `attempts` counts claims."""

    ledger_id: UUID
    record: Window | WindowCommand
    position: Position
    reason: str
    attempts: int
    held_at: datetime
    due_at: datetime


async def hold(
    connection: AsyncConnection,
    record: Window | WindowCommand,
    position: Position,
    reason: str,
    now: datetime,
    due_at: datetime | None = None,
) -> None:
    """Put a record behind all that is held of its user; one that is held already stays where it is."""
    await connection.execute(
        insert(held_windows)
        .values(
            ledger_id=ledger_id_of(record),
            project_id=record.project_id,
            user_id=record.user_id,
            topic=position.topic,
            partition=position.partition,
            offset=position.offset,
            timestamp_ms=position.timestamp_ms,
            payload=record.model_dump_json(),
            reason=storable(reason),
            held_at=now,
            due_at=due_at or now,
        )
        .on_conflict_do_nothing()
    )


async def first_held_reason(connection: AsyncConnection, project_id: str, user_id: str) -> str | None:
    """Why the user's first record is held; None if nothing is, else what comes later must be held, too."""
    row = await _FIRST.row(connection, project_id=project_id, user_id=user_id)
    return None if row is None else row["reason"]


async def make_due(connection: AsyncConnection, reason: str, now: datetime) -> None:
    """Let what is held for this reason be tried again now, not only when it was going to be."""
    await connection.execute(
        update(held_windows)
        .where(held_windows.c.reason == storable(reason), held_windows.c.due_at > now)
        .values(due_at=now)
    )


async def due(connection: AsyncConnection, worker: str, now: datetime, limit: int, claim_s: float) -> list[HeldRecord]:
    """Claim the first held record of each of up to `limit` users, in one statement, for `claim_s`.

    Commit at once: the claim, not a lock, keeps other workers away while the model is called, and it runs out by
    the database's clock.
    """
    later = held_windows.alias("later")
    earlier = held_windows.alias("earlier")
    candidates = (
        select(later.c.ledger_id)
        .where(
            later.c.due_at <= now,
            or_(later.c.claimed_until.is_(None), later.c.claimed_until <= func.clock_timestamp()),
            ~exists().where(
                earlier.c.project_id == later.c.project_id,
                earlier.c.user_id == later.c.user_id,
                earlier.c.number < later.c.number,
            ),
        )
        .order_by(later.c.due_at, later.c.number)
        .limit(limit)
        .with_for_update(skip_locked=True, of=later)
        # Evaluated once: a plain subquery may be run again for each row, and then claims more than the limit.
        .cte()
    )
    claimed = await connection.execute(
        update(held_windows)
        .where(held_windows.c.ledger_id == candidates.c.ledger_id)
        .values(
            claimed_by=worker,
            claimed_until=func.clock_timestamp() + timedelta(seconds=claim_s),
            attempts=held_windows.c.attempts + 1,
        )
        .returning(*held_windows.c)
    )
    return [held_record(row) for row in sorted(claimed.all(), key=lambda row: int(row.number))]


async def renew(connection: AsyncConnection, worker: str, ledger_ids: Collection[UUID], claim_s: float) -> None:
    """Claim for another `claim_s` what the worker has claimed, and nobody else since."""
    await connection.execute(
        update(held_windows)
        .where(held_windows.c.ledger_id.in_(list(ledger_ids)), held_windows.c.claimed_by == worker)
        .values(claimed_until=func.clock_timestamp() + timedelta(seconds=claim_s))
    )


async def release(connection: AsyncConnection, ledger_ids: Collection[UUID]) -> int:
    """Remove records that are done, in the transaction that applies them; the user's next is due at once.

    Returns how many there still were: where some are gone, a forget or another worker has taken them meanwhile.
    """
    result = await connection.execute(delete(held_windows).where(held_windows.c.ledger_id.in_(list(ledger_ids))))
    return result.rowcount


async def reschedule(connection: AsyncConnection, worker: str, ledger_id: UUID, due_at: datetime, reason: str) -> None:
    """Give a claimed record back, to be tried again from `due_at` on, unless another worker has claimed it."""
    await connection.execute(
        update(held_windows)
        .where(held_windows.c.ledger_id == ledger_id, held_windows.c.claimed_by == worker)
        .values(due_at=due_at, reason=storable(reason), claimed_by=None, claimed_until=None)
    )


async def read_held(connection: AsyncConnection, project_id: str, user_id: str, limit: int) -> list[HeldRecord]:
    """The first held records of a user, in order, claimed or not: to extract several together."""
    query = (
        select(held_windows)
        .where(held_windows.c.project_id == project_id, held_windows.c.user_id == user_id)
        .order_by(held_windows.c.number)
        .limit(limit)
    )
    return [held_record(row) for row in (await connection.execute(query)).all()]


async def all_held(connection: AsyncConnection, batch: int = 100) -> AsyncIterator[HeldRecord]:
    """Everything that is held, in order, `batch` rows in memory at a time."""
    last = 0
    while True:
        query = select(held_windows).where(held_windows.c.number > last).order_by(held_windows.c.number).limit(batch)
        rows = (await connection.execute(query)).all()
        for row in rows:
            yield held_record(row)
        if len(rows) < batch:
            return
        last = int(rows[-1].number)


def held_record(row: Any) -> HeldRecord:
    """A row of `held_windows` as a value."""
    return HeldRecord(
        ledger_id=row.ledger_id,
        record=decode_window(row.payload.encode()),
        position=Position(topic=row.topic, partition=row.partition, offset=row.offset, timestamp_ms=row.timestamp_ms),
        reason=row.reason,
        attempts=row.attempts,
        held_at=row.held_at,
        due_at=row.due_at,
    )
