"""What windows did to a user's memory: who waits for one is told."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.recall import of_live_user
from storage.tables import events, profile_history


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What came of windows that were extracted together: the event, and the entries by what happened to them."""

    event_id: UUID | None
    added: tuple[UUID, ...]
    updated: tuple[UUID, ...]
    deleted: tuple[UUID, ...]


async def read_window_results(
    connection: AsyncConnection, project_id: str, user_id: str, window_ids: Collection[UUID]
) -> list[WindowResult]:
    """One result for each extraction that any of these windows was part of and that changed memory, in their order.

    An entry that was only said again counts as no change.
    """
    if not window_ids:
        return []
    of_user = {"project_id": project_id, "user_id": user_id}
    event_query = select(events.c.revision, events.c.event_id).where(
        of_live_user(events),
        is_of_windows(events.c.window_ids, window_ids),
    )
    event_ids = {row.revision: row.event_id for row in (await connection.execute(event_query, of_user)).all()}
    change_query = (
        select(profile_history.c.revision, profile_history.c.op, profile_history.c.profile_id)
        .where(
            of_live_user(profile_history),
            is_of_windows(profile_history.c.window_ids, window_ids),
            profile_history.c.before.is_distinct_from(profile_history.c.after),
        )
        .order_by(profile_history.c.history_id)
    )
    changed: dict[int, dict[str, list[UUID]]] = {}
    for row in (await connection.execute(change_query, of_user)).all():
        changed.setdefault(row.revision, {}).setdefault(row.op, []).append(row.profile_id)
    return [
        WindowResult(
            event_ids.get(revision),
            *(tuple(changed.get(revision, {}).get(op, ())) for op in ("c", "u", "d")),
        )
        for revision in sorted(event_ids.keys() | changed.keys())
    ]


def is_of_windows(column: Any, window_ids: Collection[UUID]) -> ColumnElement[bool]:
    """Whether an array of window ids holds one of these."""
    # Named apart: a statement may ask for two columns.
    wanted = bindparam(f"of_{column.table.name}", list(window_ids), column.type)
    overlaps: ColumnElement[bool] = column.op("&&", is_comparison=True)(wanted)
    return overlaps
