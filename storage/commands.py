"""Commands on their way through the user's order: a flush is told to be done, a forget removes the user."""

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.windows import Position, WindowCommand
from storage.forgetting import forget
from storage.ledger import LedgerRow, claim_ledger, command_ledger_id
from storage.tables import ledger, users

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
    is_forget = command.command.command == "forget-user"
    is_named = not is_forget and await _is_remembered(connection, command)
    is_new = await claim_ledger(connection, _row(command, ledger_id, position, now, is_named=is_named))
    if not is_forget:
        return
    # A second delivery, or a replay, must not remove what the user has said since.
    if is_new:
        await forget(connection, command, ledger_id, now, new_id, end_offsets)
    else:
        await _note_arrival(connection, command, ledger_id, position)


async def has_arrived(connection: AsyncConnection, command: WindowCommand) -> bool:
    """Whether extraction has come to a command: all of its user's windows before it are finished then."""
    query = select(ledger.c.topic).where(ledger.c.ledger_id == command_ledger_id(command))
    topic = await connection.scalar(query)
    return topic is not None and topic != command.position.topic


async def _note_arrival(
    connection: AsyncConnection, command: WindowCommand, ledger_id: UUID, position: Position
) -> None:
    """Let the ledger say where it lies on extraction-windows, of a forget that was done before it came there."""
    await connection.execute(
        update(ledger)
        .where(ledger.c.ledger_id == ledger_id, ledger.c.topic == command.position.topic)
        .values(topic=position.topic, partition=position.partition, offset=position.offset)
    )


async def _is_remembered(connection: AsyncConnection, command: WindowCommand) -> bool:
    """Whether the user has a row; it stays until this transaction ends."""
    query = select(users.c.user_id).where(users.c.project_id == command.project_id, users.c.user_id == command.user_id)
    return await connection.scalar(query.with_for_update(read=True)) is not None


def _row(command: WindowCommand, ledger_id: UUID, position: Position, now: datetime, *, is_named: bool) -> LedgerRow:
    """A flush of a user of whom nothing is remembered may be read again, or late, after a forget: it names nobody."""
    return LedgerRow(
        ledger_id=ledger_id,
        kind=command.command.command,
        project_id=command.project_id,
        user_id=command.user_id if is_named else None,
        position=position,
        outcome="done",
        recorded_at=now,
        # A producer may have put a name into it.
        command_id=command.command_id if is_named else None,
        window_ids=tuple(command.window_ids) if is_named else (),
    )
