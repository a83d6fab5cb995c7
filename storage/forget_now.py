"""A forget that somebody waits for: sent to the topic first, then done at once, and followed through every stage."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import ConfigurationError, RetryLater
from schemas.records import Command, describe_validation_error
from schemas.windows import Position, WindowCommand
from storage.commands import apply_command

# For the broker to tell where its topics end.
OFFSETS_TIMEOUT_S: Final = 10.0


class CommandLog(Protocol):
    """Writes to `chat-messages`."""

    async def send_command(self, command: Command) -> Position:
        """On the partition of its user; raises RetryLater."""
        ...


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What a forget needs: `transaction` commits on leaving."""

    log: CommandLog
    end_offsets: Callable[[], Awaitable[Mapping[tuple[str, int], int]]]
    transaction: Callable[[], AbstractAsyncContextManager[AsyncConnection]]
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]


async def forget_now(parts: Forgetting, project_id: str, user_id: str) -> WindowCommand:
    """Send the command, and remove all rows of the user without waiting for a worker; returns it as it lies there.

    Raises RetryLater where the broker or Postgres is away: the command may have been sent, and is done by a worker
    then. Raises ConfigurationError for an id that no record can have.
    """
    command = forget_command(project_id, user_id, parts.new_id())
    # First of all, so that it is done whatever becomes of this process.
    position = await parts.log.send_command(command)
    on_its_way = WindowCommand(command=command, command_id=str(command.id), position=position)
    try:
        async with asyncio.timeout(OFFSETS_TIMEOUT_S):
            end_offsets = await parts.end_offsets()
    except TimeoutError:
        raise RetryLater("Kafka, reading end offsets: it takes too long") from None
    async with parts.transaction() as connection:
        # The worker that comes to it later finds it done, and leaves alone what was made since.
        await apply_command(connection, on_its_way, position, parts.now(), parts.new_id, end_offsets)
    return on_its_way


def forget_command(project_id: str, user_id: str, command_id: UUID) -> Command:
    """Raises ConfigurationError for an id that no record can have."""
    try:
        return Command(command="forget-user", id=str(command_id), project_id=project_id, user_id=user_id)
    except ValidationError as error:
        raise ConfigurationError(describe_validation_error(error)) from None
