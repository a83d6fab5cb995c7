"""Rows whose embedding is still to be made: claimed for a while, and filled unless their text has changed since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Table, Update, bindparam, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.memory import Embedding, slot_text
from storage.tables import events, gists, profiles
from storage.vector_columns import EMBED_AFTER, IN_USE, VectorColumn


@dataclass(frozen=True, slots=True)
class _Queue:
    table: Table
    key: Column[UUID]
    columns: tuple[Column[str], ...]
    has_text: ColumnElement[bool]


_QUEUES: Final[Mapping[str, _Queue]] = {
    "profile": _Queue(
        profiles, profiles.c.profile_id, (profiles.c.topic, profiles.c.sub_topic, profiles.c.content), true()
    ),
    "gist": _Queue(gists, gists.c.gist_id, (gists.c.text,), true()),
    "event": _Queue(events, events.c.event_id, (events.c.summary,), events.c.summary != ""),
}


@dataclass(frozen=True, slots=True)
class Unembedded:
    """A row to embed: whose it is, and the parts of its text."""

    kind: str
    row_id: UUID
    project_id: str
    user_id: str
    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        return slot_text(*self.parts) if self.kind == "profile" else self.parts[0]


async def claim_unembedded(
    connection: AsyncConnection, now: datetime, limit: int, claim_s: float, column: VectorColumn = IN_USE
) -> Sequence[Unembedded]:
    """The rows that wait longest for a vector in this column; nobody else gets them for `claim_s`."""
    embed_after = EMBED_AFTER[column]
    claimed: list[Unembedded] = []
    for kind, queue in _QUEUES.items():
        if len(claimed) == limit:
            break
        table = queue.table
        due = (
            select(queue.key)
            .where(table.c[column].is_(None), table.c[embed_after] <= now, queue.has_text)
            .order_by(table.c[embed_after])
            .limit(limit - len(claimed))
            # Whoever changes the row makes it due again.
            .with_for_update(skip_locked=True)
        )
        rows = await connection.execute(
            update(table)
            .where(queue.key.in_(due))
            .values({embed_after: now + timedelta(seconds=claim_s)})
            .returning(queue.key, table.c.project_id, table.c.user_id, *queue.columns)
        )
        claimed += [Unembedded(kind, row[0], row[1], row[2], tuple(row[3:])) for row in rows]
    return claimed


async def fill_embeddings(
    connection: AsyncConnection, vectors: Sequence[tuple[Unembedded, Embedding]], column: VectorColumn = IN_USE
) -> None:
    """Write what was made; a row that is gone, that changed, or that somebody is changing now is left out."""
    for kind in _QUEUES:
        found = [{"new_embedding": vector, **_key(row)} for row, vector in vectors if row.kind == kind]
        if found:
            await connection.execute(_update_of(kind, column).values({column: bindparam("new_embedding")}), found)


async def put_off(
    connection: AsyncConnection, rows: Sequence[Unembedded], until: datetime | None, column: VectorColumn = IN_USE
) -> None:
    """Try these again from `until` on; with None not before their text changes."""
    for kind in _QUEUES:
        found = [{"until": until, **_key(row)} for row in rows if row.kind == kind]
        if found:
            await connection.execute(_update_of(kind, column).values({EMBED_AFTER[column]: bindparam("until")}), found)


def _update_of(kind: str, column: VectorColumn) -> Update:
    queue = _QUEUES[kind]
    table = queue.table
    same = [part == bindparam(f"its_{part.name}") for part in queue.columns]
    # Waits for nobody: who holds rows and waits for others' may stand in the way of one who does the same.
    free = (
        select(queue.key)
        .where(queue.key == bindparam("row_id"), table.c[column].is_(None), *same)
        .with_for_update(skip_locked=True)
    )
    return update(table).where(queue.key.in_(free))


def _key(row: Unembedded) -> dict[str, object]:
    columns = _QUEUES[row.kind].columns
    return {
        "row_id": row.row_id,
        **{f"its_{column.name}": part for column, part in zip(columns, row.parts, strict=True)},
    }
