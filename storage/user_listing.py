"""Users page by page, for whoever asks and for work on each of them; only their own table is read."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import bindparam, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.tables import users

PAGE_USERS: Final = 500

UserKey = tuple[str, str]
UserOrder = Literal["updated_at", "profile_count", "event_count"]

_COLUMNS: Final = (
    users.c.user_id,
    users.c.additional_fields,
    users.c.created_at,
    users.c.updated_at,
    users.c.profile_count,
    users.c.event_count,
)


@dataclass(frozen=True, slots=True)
class ListedUser:
    """A user, and how many profile entries and events there are of them."""

    user_id: str
    additional_fields: Mapping[str, Any] | None
    created_at: datetime
    updated_at: datetime
    profile_count: int
    event_count: int


@dataclass(frozen=True, slots=True)
class UserPage:
    """Some of the users that were asked for; `count` is the number of all."""

    users: Sequence[ListedUser]
    count: int


async def list_users(
    connection: AsyncConnection,
    project_id: str,
    *,
    search: str,
    order_by: UserOrder,
    descending: bool,
    limit: int,
    offset: int,
) -> UserPage:
    """Users whose id holds `search`, in any case; those that are equal in order come by id."""
    wanted = [users.c.project_id == project_id]
    if search:
        wanted.append(users.c.user_id.icontains(search, autoescape=True))
    column = users.c[order_by]
    page = (
        select(*_COLUMNS)
        .where(*wanted)
        .order_by(column.desc() if descending else column, users.c.user_id)
        .limit(limit)
        .offset(offset)
    )
    found = [ListedUser(*row) for row in (await connection.execute(page)).all()]
    if 0 < len(found) < limit:
        return UserPage(found, offset + len(found))
    count = await connection.scalar(select(func.count()).select_from(users).where(*wanted))
    return UserPage(found, count or 0)


async def user_pages(
    connection: AsyncConnection, size: int = PAGE_USERS, project_id: str | None = None
) -> AsyncIterator[list[UserKey]]:
    """All users, or those of a project, a page at a time.

    Ends the transaction before each page, so that it is read as of one moment.
    """
    last: UserKey = ("", "")
    while True:
        await connection.rollback()
        query = (
            select(users.c.project_id, users.c.user_id)
            .where(tuple_(users.c.project_id, users.c.user_id) > tuple_(*(bindparam(None, part) for part in last)))
            .order_by(users.c.project_id, users.c.user_id)
            .limit(size)
        )
        if project_id is not None:
            query = query.where(users.c.project_id == project_id)
        page = [(row.project_id, row.user_id) for row in (await connection.execute(query)).all()]
        if not page:
            return
        yield page
        last = page[-1]
