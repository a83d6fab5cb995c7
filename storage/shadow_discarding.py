"""Removes what a shadow has written, users first and the shadow itself last, so that it may be stopped at any point."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ARRAY, Select, Table, Text, bindparam, column, delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.shadow_tables import SHADOWS_OF_A_USER, shadow_users, shadows
from storage.tables import edit_history, events, gists, profile_history, profiles, units, users
from storage.user_listing import UserKey

_MEMORY: Final[tuple[Table, ...]] = (profiles, profile_history, edit_history, gists, events, units)


async def discard_users(
    connection: AsyncConnection, generation: int, after: UserKey, limit: int
) -> tuple[UserKey | None, int]:
    """Remove the rows of the next users behind `after`, of whom memory has not become the shadow's.

    Returns the last user of the page, None where there was none, and of how many users rows were removed. In the
    caller's transaction, under the locks on the users' rows, so that none is promoted meanwhile.
    """
    page = (
        select(shadow_users.c.project_id, shadow_users.c.user_id)
        .where(
            shadow_users.c.generation == generation,
            tuple_(shadow_users.c.project_id, shadow_users.c.user_id) > tuple_(*(bindparam(None, p) for p in after)),
        )
        .order_by(shadow_users.c.project_id, shadow_users.c.user_id)
        .limit(limit)
    )
    keys: list[UserKey] = [(row.project_id, row.user_id) for row in (await connection.execute(page)).all()]
    if not keys:
        return None, 0
    for table in (users, shadow_users):
        await connection.execute(_lock(table, keys))
    unpromoted = _of_page(select(shadow_users.c.project_id, shadow_users.c.user_id), shadow_users, keys).where(
        # Of who was promoted the memory is live, or history since the next promotion.
        shadow_users.c.generation == generation,
        shadow_users.c.promoted_at.is_(None),
    )
    left: list[UserKey] = [(row.project_id, row.user_id) for row in (await connection.execute(unpromoted)).all()]
    if left:
        those = _page(left)
        for table in (*_MEMORY, *reversed(SHADOWS_OF_A_USER)):
            await connection.execute(
                delete(table).where(
                    table.c.generation == generation,
                    table.c.project_id == those.c.project_id,
                    table.c.user_id == those.c.user_id,
                )
            )
    return keys[-1], len(left)


async def discard_shadow(connection: AsyncConnection, generation: int) -> None:
    """Remove the shadow itself, of whose name nothing is known then; what was promoted is live memory, and stays."""
    await connection.execute(delete(shadows).where(shadows.c.generation == generation))


def _lock(table: Table, keys: Sequence[UserKey]) -> Select[Any]:
    query = _of_page(select(table.c.project_id, table.c.user_id), table, keys)
    return query.order_by(table.c.project_id, table.c.user_id).with_for_update(of=table)


def _of_page(query: Select[Any], table: Table, keys: Sequence[UserKey]) -> Select[Any]:
    page = _page(keys)
    return query.join(page, (page.c.project_id == table.c.project_id) & (page.c.user_id == table.c.user_id))


def _page(keys: Sequence[UserKey]) -> Any:
    columns = (bindparam(None, [key[number] for key in keys], ARRAY(Text)) for number in range(2))
    return (
        func.unnest(*columns).table_valued(column("project_id", Text), column("user_id", Text)).render_derived("page")
    )
