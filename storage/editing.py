"""What edits by hand share: the user's lock, the next revision, history and outbox rows, in the caller's transaction.

An edit takes the row that extraction takes, and moves the revision, so whatever extraction has decided on the memory
before the edit is decided again on the memory with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.changes import ChangeSource
from schemas.errors import Conflict, InvalidRecord
from schemas.memory import ChangeOp
from storage.locking import LockedUser, count_on, lock_known_user, lock_user
from storage.outbox import append_rows
from storage.outgoing import Outgoing, change_source
from storage.tables import edit_history

TOO_LARGE: Final = "too-large"

EditKind = Literal["user", "event"]


class Taken(Conflict):
    """What is to be made exists already, and holds something else."""


@dataclass(frozen=True, slots=True)
class Edits:
    """How edits are made. `max_payload_bytes` is what the topics of changes take as one record."""

    connection: AsyncConnection
    now: datetime
    new_id: Callable[[], UUID]
    max_payload_bytes: int

    async def begin(self, project_id: str, user_id: str) -> "Editing | None":
        """Lock a user who has a row; None for anybody else."""
        user = await lock_known_user(self.connection, project_id, user_id)
        return None if user is None else self._editing(user)

    async def begin_anew(self, project_id: str, user_id: str) -> "Editing":
        """Lock a user, making the row when it is missing."""
        return self._editing(await lock_user(self.connection, project_id, user_id, self.now))

    def _editing(self, user: LockedUser) -> "Editing":
        outgoing = Outgoing(user.project_id, user.user_id, user.seq, self.now, self.new_id)
        return Editing(self.connection, user, outgoing, self.max_payload_bytes)


@dataclass(frozen=True, slots=True)
class Editing:
    """One edit of a locked user. Without `finish` nothing is published and the revision stays."""

    connection: AsyncConnection
    user: LockedUser
    outgoing: Outgoing
    max_payload_bytes: int

    @property
    def revision(self) -> int:
        """The user's revision after the edit."""
        return self.user.revision + 1

    @property
    def now(self) -> datetime:
        return self.outgoing.now

    @property
    def source(self) -> ChangeSource:
        """Of a change that no record caused and no extractor made."""
        return change_source((), (), (), None)

    async def record(self, kind: EditKind, op: ChangeOp, before: Any, after: Any, event_id: UUID | None = None) -> None:
        """Write a history row; profile entries have a history of their own."""
        await self.connection.execute(
            insert(edit_history).values(
                project_id=self.user.project_id,
                user_id=self.user.user_id,
                generation=self.user.live_generation,
                kind=kind,
                event_id=event_id,
                op=op,
                before=before,
                after=after,
                revision=self.revision,
                recorded_at=self.now,
            )
        )

    async def finish(self, *, shrinks: bool = False) -> None:
        """Store the counters and what is to be published.

        Raises InvalidRecord where a record would be larger than its topic takes, for it would hold up all that comes
        after it; an edit that `shrinks` memory is let through, since it makes no record larger than there was.
        """
        sizes = [len(row.payload.encode()) for row in self.outgoing.rows if row.payload is not None]
        if not shrinks and max(sizes, default=0) > self.max_payload_bytes:
            raise InvalidRecord(
                TOO_LARGE, f"the memory would not fit a record of {self.max_payload_bytes} bytes: say it in fewer words"
            )
        await append_rows(self.connection, self.outgoing.rows)
        await count_on(self.connection, self.user, revision=self.revision, seq=self.outgoing.seq, now=self.now)
