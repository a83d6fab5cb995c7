"""What is parked and what waits in the outbox, for `memostream audit`."""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.audit_applied import RecordRange, in_range, is_live
from storage.ledger import LedgerRow, read_ledger
from storage.reading import recorded_unit
from storage.tables import held_windows, outbox, units
from storage.units import RecordedUnit


async def parked_units(connection: AsyncConnection, wanted: RecordRange | None) -> AsyncIterator[RecordedUnit]:
    """Every parked unit, in the generation that is read."""
    query = select(units).where(units.c.state == "parked", is_live(units), *in_range(wanted))
    async with connection.stream(query) as rows:
        async for row in rows.mappings():
            yield recorded_unit(row)


async def waiting_dead_letters(connection: AsyncConnection) -> AsyncIterator[Mapping[str, str]]:
    """The headers of every dead letter in the outbox."""
    query = select(outbox.c.headers).where(outbox.c.aggregatetype == "dead-letters")
    async with connection.stream(query) as rows:
        async for row in rows:
            yield row.headers


async def overdue(
    connection: AsyncConnection, age_s: float, limit: int
) -> tuple[int, int, list[tuple[str, str, str, datetime]]]:
    """How many rows the outbox has, how many are older than that by the database's clock, and the oldest of these:
    project, user, topic and time.
    """
    total = await connection.scalar(select(func.count()).select_from(outbox)) or 0
    query = (
        select(*(outbox.c[name] for name in ("project_id", "user_id", "aggregatetype", "created_at")))
        .add_columns(func.count().over().label("total"))
        .where(outbox.c.created_at < func.clock_timestamp() - timedelta(seconds=age_s))
        .order_by(outbox.c.number)
        .limit(limit)
    )
    rows = (await connection.execute(query)).all()
    found: list[Any] = [(row.project_id, row.user_id, row.aggregatetype, row.created_at) for row in rows]
    return total, int(rows[0].total) if rows else 0, found


async def ledger_or_held(
    connection: AsyncConnection, ledger_ids: Collection[UUID]
) -> tuple[Mapping[UUID, LedgerRow], frozenset[UUID]]:
    """The rows of those that are done, and the ids of those that are held; of one moment in REPEATABLE READ."""
    held = select(held_windows.c.ledger_id).where(held_windows.c.ledger_id.in_(list(ledger_ids)))
    found = frozenset((await connection.scalars(held)).all())
    return await read_ledger(connection, ledger_ids), found
