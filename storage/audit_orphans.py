"""Rows that belong to nothing: counted for `memostream audit`, each kind in one statement and so of one moment."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, Select, Table, and_, exists, false, func, null, or_, select, table, true
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.shadow_tables import shadow_users, shadow_windows, shadows
from storage.tables import (
    OF_A_USER,
    edit_history,
    events,
    gists,
    held_windows,
    ledger,
    outbox,
    profile_history,
    profiles,
    units,
    users,
)

# A record that is held is tried again when it is due; one that is done already, and waits for longer, is left over.
HELD_FOR_NOTHING_S: Final = 3600.0
# Whoever makes the partitions came late; such rows are read as all others are.
IN_NO_MONTH: Final = "units in no month's partition"
_OF_A_GENERATION: Final = (profiles, profile_history, edit_history, events, gists, units)
# What stays when a shadow takes the place of the memory that it tells of.
_KEPT: Final = (profile_history, edit_history)


@dataclass(frozen=True, slots=True)
class Orphans:
    """How many rows of a kind there are, and the users of the first few; None where a row names none.

    `is_wrong` is False of rows that should not be, and harm nobody.
    """

    kind: str
    count: int
    is_wrong: bool
    users: tuple[tuple[str | None, str | None], ...]


async def find_orphans(connection: AsyncConnection, limit: int) -> AsyncIterator[Orphans]:
    """Every kind that there is a row of, with up to `limit` users."""
    for kind, query in _queries().items():
        rows = (await connection.execute(query.limit(limit))).all()
        if rows:
            yield Orphans(
                kind, int(rows[0].total), kind != IN_NO_MONTH, tuple((row.project_id, row.user_id) for row in rows)
            )
        await connection.rollback()


def _queries() -> Mapping[str, Select[Any]]:
    found: dict[str, Select[Any]] = {
        f"{item.name} without user": _of(item, ~_has_user(item), _needs_user(item)) for item in OF_A_USER
    }
    found |= {
        f"{item.name} of a generation that nobody reads": _of(
            item,
            exists().where(*_same_user(item), users.c.live_generation != item.c.generation),
            ~_is_of_shadow(item),
            ~_was_live(item),
        )
        for item in _OF_A_GENERATION
    }
    found["gists without event"] = _of(gists, ~exists().where(events.c.event_id == gists.c.event_id))
    # What was erased need not have come in a window, and the ledger names a window that is done.
    found["units without ledger row"] = _of(
        units,
        units.c.window_id.is_not(None),
        units.c.state != "erased",
        ~exists().where(ledger.c.ledger_id == units.c.window_id),
        ~exists().where(
            shadow_windows.c.generation == units.c.generation, shadow_windows.c.window_id == units.c.window_id
        ),
    )
    found["held_windows that are done"] = _of(
        held_windows,
        held_windows.c.due_at < func.clock_timestamp() - timedelta(seconds=HELD_FOR_NOTHING_S),
        # What was parked may have been sent again, and has the same id then.
        exists().where(ledger.c.ledger_id == held_windows.c.ledger_id, ledger.c.parked_count == 0),
    )
    in_no_month: Any = select(
        null().label("project_id"), null().label("user_id"), func.count().over().label("total")
    ).select_from(table("units_default"))
    found[IN_NO_MONTH] = in_no_month
    return found


def _of(item: Table, *conditions: ColumnElement[bool]) -> Select[Any]:
    total = func.count().over().label("total")
    return select(item.c.project_id, item.c.user_id, total).where(*conditions)


def _same_user(item: Table) -> tuple[ColumnElement[bool], ...]:
    return users.c.project_id == item.c.project_id, users.c.user_id == item.c.user_id


def _has_user(item: Table) -> ColumnElement[bool]:
    """Whether memory knows the user, or the shadow that the row is of."""
    known = exists().where(*_same_user(item))
    if "generation" not in item.c:
        return known
    of_shadow = [shadow_users.c[name] == item.c[name] for name in ("generation", "project_id", "user_id")]
    return true() if item is shadow_users else or_(known, exists().where(*of_shadow))


def _is_of_shadow(item: Table) -> ColumnElement[bool]:
    return exists().where(shadows.c.generation == item.c.generation)


def _was_live(item: Table) -> ColumnElement[bool]:
    """Whether a promotion of the user has put another generation in this one's place."""
    if item not in _KEPT:
        return false()
    promotion = edit_history.alias("promotion")
    return exists().where(
        and_(*(promotion.c[name] == item.c[name] for name in ("project_id", "user_id"))),
        promotion.c.kind == "promotion",
        promotion.c.before["generation"].astext.cast(Integer) == item.c.generation,
    )


def _needs_user(item: Table) -> ColumnElement[bool]:
    """A forget leaves a tombstone to publish, and a blob may be erased of somebody who was never seen."""
    if item is units:
        return units.c.state != "erased"
    if item is outbox:
        return outbox.c.payload.is_not(None)
    return true()
