"""The ledger: a row for every window and command that is done, which a waiting flush is told of."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.identity import derived_uuid
from schemas.windows import Position, Window, WindowCommand
from storage.compiled import Compiled
from storage.tables import ledger
from storage.writes import RowsOf, Writes

CHANNEL: Final = "memostream_ledger"

LedgerKind = Literal["window", "flush", "forget-user"]


_NOTIFY: Final = Compiled(select(func.pg_notify(CHANNEL, bindparam("news", type_=Text))))
_ROWS: Final = RowsOf(
    ledger,
    *("ledger_id", "kind", "command_id", "project_id", "user_id", "topic", "partition", "offset", "outcome"),
    *("applied_count", "parked_count", "duplicate_count", "erased_count", "window_ids", "recorded_at"),
    keeps=True,
)


@dataclass(frozen=True, slots=True)
class UnitCounts:
    """What became of a window's units; one that was bisected counts as its pieces."""

    applied: int = 0
    parked: int = 0
    duplicate: int = 0
    erased: int = 0

    @property
    def outcome(self) -> str:
        """The best that happened to any unit."""
        for word in ("applied", "parked", "erased", "duplicate"):
            if getattr(self, word):
                return word
        return "empty"


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """`position` is that of the record on extraction-windows, or of one that was done before it came there, on
    chat-messages; what is forgotten has no `user_id`.
    """

    ledger_id: UUID
    kind: LedgerKind
    project_id: str
    user_id: str | None
    position: Position
    outcome: str
    recorded_at: datetime
    command_id: str | None = None
    counts: UnitCounts = UnitCounts()
    window_ids: tuple[UUID, ...] = ()


def command_ledger_id(command: WindowCommand) -> UUID:
    """Id of a command's row, from where its producer put it, so that a forwarded copy has the same."""
    return command_ledger_id_at(command.origin or command.position)


def command_ledger_id_at(first: Position) -> UUID:
    """The same, of a command whose producer put it there."""
    return derived_uuid("command", first.topic, first.partition, first.offset, first.timestamp_ms)


def ledger_id_of(record: Window | WindowCommand) -> UUID:
    """The ledger's id of any record of extraction-windows."""
    return record.window_id if isinstance(record, Window) else command_ledger_id(record)


def window_row(window: Window, position: Position, counts: UnitCounts, now: datetime) -> LedgerRow:
    """The row of a finished window; one that a forget has erased does not name the user again."""
    return LedgerRow(
        ledger_id=window.window_id,
        kind="window",
        project_id=window.project_id,
        user_id=None if counts.outcome == "erased" else window.user_id,
        position=position,
        outcome=counts.outcome,
        recorded_at=now,
        counts=counts,
    )


def add_ledger(writes: Writes, rows: Sequence[LedgerRow]) -> None:
    """Add rows, keeping those that exist, and notify everybody who waits for one at commit."""
    writes.add(_ROWS, map(_values, rows))
    for row in rows:
        writes.notify(CHANNEL, str(row.ledger_id))


async def record_ledger(connection: AsyncConnection, rows: Sequence[LedgerRow]) -> None:
    """Write rows, keeping those that exist, and notify everybody who waits for one at commit."""
    writes = Writes()
    add_ledger(writes, rows)
    await writes.send(connection)


async def claim_ledger(connection: AsyncConnection, row: LedgerRow) -> bool:
    """Write a row before its work is done, and notify at commit; False where it was written before.

    Whoever claims the same row meanwhile waits for the end of this transaction.
    """
    claimed = insert(ledger).values(_values(row)).on_conflict_do_nothing().returning(ledger.c.ledger_id)
    is_new = (await connection.execute(claimed)).first() is not None
    await _NOTIFY.row(connection, news=str(row.ledger_id))
    return is_new


def _values(row: LedgerRow) -> dict[str, object]:
    return {
        "ledger_id": row.ledger_id,
        "kind": row.kind,
        "command_id": row.command_id,
        "project_id": row.project_id,
        "user_id": row.user_id,
        "topic": row.position.topic,
        "partition": row.position.partition,
        "offset": row.position.offset,
        "outcome": row.outcome,
        "applied_count": row.counts.applied,
        "parked_count": row.counts.parked,
        "duplicate_count": row.counts.duplicate,
        "erased_count": row.counts.erased,
        "window_ids": list(row.window_ids),
        "recorded_at": row.recorded_at,
    }


async def read_ledger(connection: AsyncConnection, ledger_ids: Collection[UUID]) -> Mapping[UUID, LedgerRow]:
    """Those of the rows that exist."""
    query = select(ledger).where(ledger.c.ledger_id.in_(list(ledger_ids)))
    return {row.ledger_id: ledger_row(row) for row in (await connection.execute(query)).all()}


def ledger_row(row: Any) -> LedgerRow:
    """A row of `ledger` as a value. The record's timestamp is not kept and reads 0."""
    return LedgerRow(
        ledger_id=row.ledger_id,
        kind=row.kind,
        project_id=row.project_id,
        user_id=row.user_id,
        position=Position(topic=row.topic, partition=row.partition, offset=row.offset, timestamp_ms=0),
        outcome=row.outcome,
        recorded_at=row.recorded_at,
        command_id=row.command_id,
        counts=UnitCounts(row.applied_count, row.parked_count, row.duplicate_count, row.erased_count),
        window_ids=tuple(row.window_ids),
    )
