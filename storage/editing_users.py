"""Users as they are named by hand: made, given fields of the caller's own, looked up."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.editing import Editing, Edits, Taken
from storage.profile_writing import read_rows
from storage.tables import users

Fields = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user's row; `additional_fields` are the caller's own, None where none were given."""

    additional_fields: Fields
    created_at: datetime
    updated_at: datetime


async def read_user(connection: AsyncConnection, project_id: str, user_id: str) -> UserRow | None:
    """The user's row; None for one who has none yet, also where messages are on their way."""
    query = select(users.c.additional_fields, users.c.created_at, users.c.updated_at).where(
        users.c.project_id == project_id, users.c.user_id == user_id
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else UserRow(row.additional_fields, row.created_at, row.updated_at)


async def create_user(edits: Edits, project_id: str, user_id: str, fields: Fields) -> None:
    """Make a user with these fields; one who is there with the same fields, or with none yet, is the same user.

    Raises Taken for a user with other fields.
    """
    editing = await edits.begin_anew(project_id, user_id)
    before = await _fields_of(editing)
    if before is not None and before != fields:
        raise Taken("a user with this id exists and has other data: update that one, or choose another id")
    await _write(editing, before, fields)


async def replace_fields(edits: Edits, project_id: str, user_id: str, fields: Fields) -> None:
    """Put the fields in place of all that there are; makes the user's row when it is missing."""
    editing = await edits.begin_anew(project_id, user_id)
    await _write(editing, await _fields_of(editing), fields)


async def _fields_of(editing: Editing) -> Fields:
    row = await read_user(editing.connection, editing.user.project_id, editing.user.user_id)
    return None if row is None else row.additional_fields


async def _write(editing: Editing, before: Fields, fields: Fields) -> None:
    user = editing.user
    if before == fields and not user.is_new:
        return
    await editing.connection.execute(
        update(users)
        .where(users.c.project_id == user.project_id, users.c.user_id == user.user_id)
        .values(additional_fields=fields)
    )
    await editing.record("user", "c" if user.is_new else "u", before, fields)
    # The fields themselves are not published; the state tells that there is such a user, and the new revision.
    rows = await read_rows(editing.connection, user)
    state = sorted(rows, key=lambda row: (row.topic, row.sub_topic))
    editing.outgoing.profile_state(editing.revision, [row.entry() for row in state])
    await editing.finish(shrinks=True)
