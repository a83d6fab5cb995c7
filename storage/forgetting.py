"""Removing a user: every row in one transaction, with the cut-off that keeps out whatever turns up again."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Table, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.windows import Position, Window, WindowCommand
from storage.locking import lock_name, lock_user
from storage.outbox import append_rows
from storage.outgoing import Outgoing
from storage.reading import offsets_to_json, read_cut_off, user_hash
from storage.tables import OF_A_USER, forgotten_users, held_windows, ledger, usage, users
from storage.units import ForgetCutOff
from storage.usage import forget_usage

# Those that may name a user; `forgotten_users` holds a hash.
NAMING_USERS: Final[tuple[Table, ...]] = (users, *OF_A_USER, held_windows, ledger, usage)

Held = tuple[Window | WindowCommand, Position]


async def forget(
    connection: AsyncConnection,
    command: WindowCommand,
    ledger_id: UUID,
    now: datetime,
    new_id: Callable[[], UUID],
    end_offsets: Mapping[tuple[str, int], int],
) -> None:
    """Remove all rows of the user, of every generation; one row stays, which does not name them.

    A tombstone for `profiles` is left in the outbox.
    """
    project_id, user_id = command.project_id, command.user_id
    user = await lock_user(connection, project_id, user_id, now)
    # Against those who write rows of a user without the lock on theirs.
    await lock_name(connection, project_id, user_id)
    former = await read_cut_off(connection, project_id, user_id)
    cut_off = _cut_off(command, end_offsets, former)
    for table in OF_A_USER:
        await connection.execute(delete(table).where(table.c.project_id == project_id, table.c.user_id == user_id))
    await connection.execute(delete(ledger).where(ledger.c.project_id == project_id, ledger.c.user_id == user_id))
    await forget_usage(connection, project_id, user_id)
    # If the forget itself was held, what stands behind it came later.
    own_number = select(held_windows.c.number).where(held_windows.c.ledger_id == ledger_id).scalar_subquery()
    await connection.execute(
        delete(held_windows).where(
            held_windows.c.project_id == project_id,
            held_windows.c.user_id == user_id,
            or_(own_number.is_(None), held_windows.c.number < func.coalesce(own_number, 0)),
        )
    )
    outgoing = Outgoing(project_id, user_id, user.seq, now, new_id)
    outgoing.profile_tombstone(command.trace)
    await append_rows(connection, outgoing.rows)
    entry = insert(forgotten_users).values(
        user_hash=user_hash(project_id, user_id),
        forgotten_at=cut_off.forgotten_at,
        offsets=offsets_to_json(cut_off.offsets),
        last_revision=user.revision + 1,
        last_seq=outgoing.seq,
    )
    names = ("forgotten_at", "offsets", "last_revision", "last_seq")
    await connection.execute(
        entry.on_conflict_do_update(index_elements=["user_hash"], set_={name: entry.excluded[name] for name in names})
    )
    await connection.execute(delete(users).where(users.c.project_id == project_id, users.c.user_id == user_id))


async def count_rows(connection: AsyncConnection, project_id: str, user_id: str) -> Mapping[str, int]:
    """How many rows each table has that name the user, of all generations and of one moment."""
    counts = [
        select(func.count())
        .select_from(table)
        .where(table.c.project_id == project_id, table.c.user_id == user_id)
        .scalar_subquery()
        .label(table.name)
        for table in NAMING_USERS
    ]
    row = (await connection.execute(select(*counts))).one()
    return dict(row._mapping)  # noqa: SLF001


async def not_forgotten(
    connection: AsyncConnection, project_id: str, user_id: str, records: Collection[Held]
) -> list[Held]:
    """Those of a user's records that no forget covers, windows without the units that one does.

    No forget passes before the transaction ends.
    """
    await lock_name(connection, project_id, user_id)
    cut_off = await read_cut_off(connection, project_id, user_id)
    if cut_off is None:
        return list(records)
    left = ((_without_forgotten(record, cut_off), position) for record, position in records)
    return [(record, position) for record, position in left if record is not None]


def _without_forgotten(record: Window | WindowCommand, cut_off: ForgetCutOff) -> Window | WindowCommand | None:
    if isinstance(record, WindowCommand):
        return None if cut_off.covers(record.origin or record.position) else record
    units = [unit for unit in record.units if not cut_off.covers(unit.first_position)]
    if len(units) == len(record.units):
        return record
    tokens = sum(unit.token_count for unit in units)
    return record.model_copy(update={"units": units, "token_count": tokens}) if units else None


def _cut_off(
    command: WindowCommand, end_offsets: Mapping[tuple[str, int], int], former: ForgetCutOff | None
) -> ForgetCutOff:
    """That of the command, and of the forgets before it."""
    offsets = dict(former.offsets) if former is not None else {}
    own = {
        (place.topic, place.partition): place.offset
        for place in (command.position, command.origin)
        if place is not None
    }
    for ends in (own, end_offsets):
        for place, end in ends.items():
            offsets[place] = max(end, offsets.get(place, 0))
    # The time of the command itself, by the broker's clock, as the records' times are.
    sent_at = datetime.fromtimestamp((command.origin or command.position).timestamp_ms / 1000, UTC)
    return ForgetCutOff(sent_at if former is None else max(sent_at, former.forgotten_at), offsets)
