"""Units as rows: applied and parked ones, new or known."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, insert, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.windows import Unit, UnitKey, Window
from storage.locking import OWNER, LockedUser
from storage.tables import blobs, units
from storage.text import storable, to_json
from storage.units import ID_CONFLICT, WHOLE, UnitBook, UnitState, covers
from storage.writes import RowsOf, Writes

# What became of a unit: its state and the reason, if it was parked.
Fate = tuple[Unit, UnitState, str | None]


_ROWS: Final = RowsOf(
    units,
    *OWNER,
    "recorded_at",
    *("blob_id", "message_index", "part", "blob_type", "state", "reason", "content_hash", "window_id"),
    *("topic", "partition", "offset", "timestamp_ms"),
    *("origin_topic", "origin_partition", "origin_offset", "origin_timestamp_ms"),
)


class UnitSources:
    """Finds the unit of a window that a piece was cut from."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self._by_blob: dict[str, list[tuple[Unit, UUID]]] = {}
        for window in windows:
            for unit in window.units:
                self._by_blob.setdefault(unit.blob_id, []).append((unit, window.window_id))

    def find(self, piece: Unit) -> tuple[Unit, UUID | None]:
        """The unit as it was sent, and its window; the piece itself where no window holds it."""
        candidates = self._by_blob.get(piece.blob_id, ())
        same = [
            item for item in candidates if item[0].content_hash == piece.content_hash and covers(item[0].key, piece.key)
        ]
        # A duplicate may lie in another of the windows.
        return next((item for item in same if item[0].position == piece.position), same[0] if same else (piece, None))


async def write_erased(connection: AsyncConnection, owner: Mapping[str, object], blob_id: str, now: datetime) -> None:
    """Record the whole of a blob as erased, of which nothing is recorded yet; `owner` as LockedUser's."""
    whole = {"blob_id": blob_id, "message_index": WHOLE, "part": WHOLE, "state": "erased", "recorded_at": now}
    await connection.execute(insert(units).values({**owner, **whole}))


async def write_units(
    connection: AsyncConnection,
    writes: Writes,
    user: LockedUser,
    fates: Sequence[Fate],
    book: UnitBook,
    sources: UnitSources,
    now: datetime,
) -> None:
    """Add what is new, and move what was parked to its new state and position."""
    known = {(row.key, row.content_hash, row.reason == ID_CONFLICT) for rows in book.recorded.values() for row in rows}
    fresh, moved = [], []
    for unit, state, reason in fates:
        values = _unit_values(unit, state, reason, sources.find(unit)[1])
        if (unit.key, unit.content_hash, reason == ID_CONFLICT) in known:
            moved.append({f"new_{name}": value for name, value in values.items()} | _key_values(user, unit))
        else:
            fresh.append({**user.owner, **values, **_place(unit.key), "recorded_at": now})
    writes.add(_ROWS, fresh)
    if moved:
        names = [name.removeprefix("new_") for name in moved[0] if name.startswith("new_")]
        await connection.execute(
            update(units)
            .where(
                units.c.project_id == bindparam("key_project_id"),
                units.c.user_id == bindparam("key_user_id"),
                units.c.generation == bindparam("key_generation"),
                units.c.blob_id == bindparam("key_blob_id"),
                units.c.message_index == bindparam("key_message_index"),
                units.c.part == bindparam("key_part"),
                units.c.content_hash == bindparam("key_content_hash"),
            )
            .values({name: bindparam(f"new_{name}") for name in names}),
            moved,
        )


async def keep_blobs(connection: AsyncConnection, user: LockedUser, kept: Iterable[Unit], now: datetime) -> None:
    """Keep the text of units, where `persistent_chat_blobs` asks for it."""
    rows = [
        {
            "project_id": user.project_id,
            "user_id": user.user_id,
            **_place(unit.key),
            "blob_type": unit.content["blob_type"],
            "content": to_json(unit.content),
            "occurred_at": unit.occurred_at,
            "recorded_at": now,
        }
        for unit in {unit.key: unit for unit in kept}.values()
    ]
    if rows:
        await connection.execute(upsert(blobs).on_conflict_do_nothing(), rows)


def _place(key: UnitKey) -> Mapping[str, Any]:
    return {"blob_id": key[0], "message_index": key[1], "part": key[2]}


def _key_values(user: LockedUser, unit: Unit) -> dict[str, Any]:
    named = {**user.owner, **_place(unit.key), "content_hash": unit.content_hash}
    return {f"key_{name}": value for name, value in named.items()}


def _unit_values(unit: Unit, state: UnitState, reason: str | None, window_id: UUID | None) -> dict[str, Any]:
    origin = unit.origin
    return {
        "blob_type": unit.content["blob_type"],
        "state": state,
        "reason": None if reason is None else storable(reason),
        "content_hash": unit.content_hash,
        "window_id": window_id,
        "topic": unit.position.topic,
        "partition": unit.position.partition,
        "offset": unit.position.offset,
        "timestamp_ms": unit.position.timestamp_ms,
        "origin_topic": None if origin is None else origin.topic,
        "origin_partition": None if origin is None else origin.partition,
        "origin_offset": None if origin is None else origin.offset,
        "origin_timestamp_ms": None if origin is None else origin.timestamp_ms,
    }
