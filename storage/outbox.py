"""The outbox: rows written with the data, read by the relay shard by shard, deleted once published."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import ARRAY, Integer, Text, Uuid, bindparam, column, delete, exists, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.compiled import Compiled, Record
from storage.leases import CHANNEL, IS_HELD
from storage.tables import outbox
from storage.writes import RowsOf, Writes

SLOTS: Final = 4096

AggregateType = Literal["profile-updated", "event-updated", "profiles", "dead-letters"]


_COLUMNS: Final = ("id", "aggregatetype", "aggregateid", "type", "payload", "seq", "slot", "project_id", "user_id")
# So that `number` orders as `seq` does.
_ROWS: Final = RowsOf(outbox, *_COLUMNS, "headers", "created_at", ordered_by="seq")
_LEFT_OUT: Final = (
    func.unnest(bindparam("project_ids", type_=ARRAY(Text)), bindparam("user_ids", type_=ARRAY(Text)))
    .table_valued(column("project_id", Text), column("user_id", Text))
    .render_derived("left_out")
)
_BATCH: Final = Compiled(
    select(outbox)
    .where(
        exists().where(IS_HELD),
        outbox.c.slot % bindparam("shards", type_=Integer) == bindparam("shard", type_=Integer),
        ~exists().where(_LEFT_OUT.c.project_id == outbox.c.project_id, _LEFT_OUT.c.user_id == outbox.c.user_id),
    )
    .order_by(outbox.c.number)
    .limit(bindparam("count", type_=Integer)),
    alone=True,
)
_DELETE: Final = Compiled(
    delete(outbox).where(outbox.c.id == func.any(bindparam("ids", type_=ARRAY(Uuid)))), alone=True
)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A record to publish. `payload` is JSON text, None a tombstone; `aggregate_id` is the record's key.

    `seq` is the user's own count, drawn under the lock on the user's row.
    """

    id: UUID
    aggregate_type: AggregateType
    aggregate_id: str
    type: str
    payload: str | None
    headers: Mapping[str, str]
    project_id: str
    user_id: str
    seq: int
    created_at: datetime


def slot_of(project_id: str, user_id: str) -> int:
    """Where a user belongs for good, however many shards there are: CRC-32 of `project/user`, modulo 4096."""
    return zlib.crc32(f"{project_id}/{user_id}".encode()) % SLOTS


def add_rows(writes: Writes, rows: Sequence[OutboxRow]) -> None:
    """Add rows of one user, whose row is locked; they wake the relay at commit."""
    writes.add(
        _ROWS,
        (
            {
                "id": row.id,
                "aggregatetype": row.aggregate_type,
                "aggregateid": row.aggregate_id,
                "type": row.type,
                "payload": row.payload,
                "headers": row.headers,
                "project_id": row.project_id,
                "user_id": row.user_id,
                "seq": row.seq,
                "slot": slot_of(row.project_id, row.user_id),
                "created_at": row.created_at,
            }
            for row in rows
        ),
    )
    for slot in sorted({slot_of(row.project_id, row.user_id) for row in rows}):
        writes.notify(CHANNEL, str(slot))


async def append_rows(connection: AsyncConnection, rows: Sequence[OutboxRow]) -> None:
    """Write rows of one user, whose row is locked; they wake the relay at commit."""
    writes = Writes()
    add_rows(writes, rows)
    await writes.send(connection)


async def read_batch(
    connection: AsyncConnection,
    owner: str,
    shard: int,
    shards: int,
    limit: int,
    without: Collection[tuple[str, str]] = (),
) -> list[OutboxRow]:
    """The oldest rows of a shard, each user's in commit order, without some users (project, user).

    None unless `owner` holds the shard's lease.
    """
    rows = await _BATCH.rows(
        connection,
        owner=owner,
        shard=shard,
        shards=shards,
        count=limit,
        project_ids=[project_id for project_id, _ in without],
        user_ids=[user_id for _, user_id in without],
    )
    return [outbox_row(row) for row in rows]


def outbox_row(row: Record) -> OutboxRow:
    """A row of `outbox` as a value."""
    return OutboxRow(
        id=row["id"],
        aggregate_type=row["aggregatetype"],
        aggregate_id=row["aggregateid"],
        type=row["type"],
        payload=row["payload"],
        headers=row["headers"],
        project_id=row["project_id"],
        user_id=row["user_id"],
        seq=row["seq"],
        created_at=row["created_at"],
    )


async def delete_rows(connection: AsyncConnection, ids: Collection[UUID]) -> None:
    """Remove published rows; some may be gone already: published by another relay, or forgotten."""
    await _DELETE.row(connection, ids=list(ids))


async def has_rows(
    connection: AsyncConnection, held: Collection[int], shards: int, without: Collection[tuple[str, str]]
) -> bool:
    """Whether the shards that are held have a row, not counting some users (project, user)."""
    query = select(outbox.c.number).where((outbox.c.slot % shards).in_(list(held))).limit(1)
    if without:
        query = query.where(tuple_(outbox.c.project_id, outbox.c.user_id).not_in(list(without)))
    return (await connection.execute(query)).first() is not None


async def backlog(connection: AsyncConnection) -> tuple[int, datetime | None]:
    """How many rows wait, and since when the oldest does."""
    row = (await connection.execute(select(func.count(), func.min(outbox.c.created_at)))).one()
    return row[0], row[1]
