"""Commands on their way through the user's order: a flush is told to be done, a forget removes the user."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.windows import Position, WindowCommand
from storage.ledger import LedgerRow, claim_ledger, command_ledger_id
from storage.locking import lock_user
from storage.outbox import append_rows
from storage.outgoing import Outgoing
from storage.reading import offsets_to_json, read_cut_off, user_hash
from storage.tables import OF_A_USER, forgotten_users, held_windows, ledger, users
from storage.usage import forget_usage

EndOffsets = Mapping[tuple[str, int], int]
NO_OFFSETS: EndOffsets = {}


async def apply_command(
    connection: AsyncConnection,
    command: WindowCommand,
    position: Position,
    now: datetime,
    new_id: Callable[[], UUID],
    end_offsets: EndOffsets = NO_OFFSETS,
) -> None:
    """Do what a command says, once, and write its ledger row; `position` is that on extraction-windows, or, for a
    forget that somebody waits for and that is done before it comes there, that on chat-messages.

    `end_offsets` are, for a forget, those of `chat-messages` and all ingest sources by topic and partition; what
    lies before the command on its own partition counts in any case.
    """
    ledger_id = command_ledger_id(command)
    is_new = await claim_ledger(connection, _row(command, ledger_id, position, now))
    # A second delivery, or a replay, must not remove what the user has said since.
    if is_new and command.command.command == "forget-user":
        await _forget(connection, command, ledger_id, now, new_id, end_offsets)


def _row(command: WindowCommand, ledger_id: UUID, position: Position, now: datetime) -> LedgerRow:
    kind = command.command.command
    return LedgerRow(
        ledger_id=ledger_id,
        kind=kind,
        project_id=command.project_id,
        user_id=None if kind == "forget-user" else command.user_id,
        position=position,
        outcome="done",
        recorded_at=now,
        command_id=command.command_id,
        window_ids=() if kind == "forget-user" else tuple(command.window_ids),
    )


async def _forget(
    connection: AsyncConnection,
    command: WindowCommand,
    ledger_id: UUID,
    now: datetime,
    new_id: Callable[[], UUID],
    end_offsets: EndOffsets,
) -> None:
    project_id, user_id = command.project_id, command.user_id
    user = await lock_user(connection, project_id, user_id, now)
    former = await read_cut_off(connection, project_id, user_id)
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
    forgotten_at = max(sent_at, former.forgotten_at) if former is not None else sent_at

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
        forgotten_at=forgotten_at,
        offsets=offsets_to_json(offsets),
        last_revision=user.revision + 1,
        last_seq=outgoing.seq,
    )
    names = ("forgotten_at", "offsets", "last_revision", "last_seq")
    await connection.execute(
        entry.on_conflict_do_update(index_elements=["user_hash"], set_={name: entry.excluded[name] for name in names})
    )
    await connection.execute(delete(users).where(users.c.project_id == project_id, users.c.user_id == user_id))
