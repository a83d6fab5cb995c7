"""A user's whole memory out of Postgres, as one document."""

from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Select, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.export import (
    ExportedBlob,
    ExportedChange,
    ExportedEdit,
    ExportedEntry,
    ExportedEvent,
    ExportedGist,
    ExportedStatus,
    ExportedUnit,
    UserExport,
)
from storage.columns import without_search
from storage.locking import OWNER
from storage.reading import recorded_unit
from storage.tables import blobs, edit_history, events, gists, profile_history, profiles, units, user_statuses, users
from storage.units import WHOLE


async def read_export(
    connection: AsyncConnection, project_id: str, user_id: str, exported_at: datetime
) -> UserExport | None:
    """What is remembered of a user; None where there is no such user. In a transaction of REPEATABLE READ, of one
    moment.
    """
    of_user = select(users).where(users.c.project_id == project_id, users.c.user_id == user_id)
    user = (await connection.execute(of_user)).one_or_none()
    if user is None:
        return None
    owner = {"project_id": project_id, "user_id": user_id, "generation": user.live_generation}
    entries = await _rows(connection, _live(profiles, owner))
    changes = await _rows(connection, _live(profile_history, owner).order_by(profile_history.c.history_id))
    edits = await _rows(connection, _edits(project_id, user_id, user.live_generation))
    recorded = _live(units, owner).order_by(
        units.c.recorded_at, units.c.blob_id, units.c.message_index, units.c.part, units.c.state
    )
    kept = _live(blobs, owner).order_by(blobs.c.blob_id, blobs.c.message_index, blobs.c.part)
    statuses = _live(user_statuses, owner).order_by(user_statuses.c.status_id)
    return UserExport(
        project_id=project_id,
        user_id=user_id,
        exported_at=exported_at,
        revision=user.revision,
        fields=user.additional_fields,
        created_at=user.created_at,
        updated_at=user.updated_at,
        # As Python sorts them, whatever the database's collation.
        profile=tuple(
            ExportedEntry(id=row.pop("profile_id"), **row)
            for row in sorted(entries, key=lambda row: (row["topic"], row["sub_topic"]))
        ),
        history=tuple(ExportedChange.model_validate(_without(row, "history_id")) for row in changes),
        events=await _read_events(connection, owner),
        edits=tuple(ExportedEdit.model_validate(_without(row, "edit_id")) for row in edits),
        units=tuple([_unit(row) for row in await _rows(connection, recorded, owned=True)]),
        blobs=tuple([_blob(row) for row in await _rows(connection, kept)]),
        statuses=tuple(
            ExportedStatus.model_validate(_without(row, "status_id")) for row in await _rows(connection, statuses)
        ),
    )


async def _read_events(connection: AsyncConnection, owner: dict[str, Any]) -> tuple[ExportedEvent, ...]:
    of_event: dict[Any, list[ExportedGist]] = {}
    for row in await _rows(connection, _live(gists, owner).order_by(gists.c.event_id, gists.c.number)):
        event_id = row.pop("event_id")
        gist = ExportedGist(id=row.pop("gist_id"), **_without(row, "number"))
        of_event.setdefault(event_id, []).append(gist)
    found = await _rows(connection, _live(events, owner).order_by(events.c.recorded_at, events.c.event_id))
    return tuple(
        ExportedEvent(gists=tuple(of_event.get(row["event_id"], ())), id=row.pop("event_id"), **row) for row in found
    )


def _live(table: Table, owner: dict[str, Any]) -> Select[Any]:
    named = [table.c[name] == value for name, value in owner.items() if name in table.c]
    return select(*without_search(table)).where(*named)


def _edits(project_id: str, user_id: str, generation: int) -> Select[Any]:
    """A user's fields and imports are of no generation; one that was promoted means nothing elsewhere."""
    return (
        select(edit_history)
        .where(
            edit_history.c.project_id == project_id,
            edit_history.c.user_id == user_id,
            (edit_history.c.generation == generation) | edit_history.c.kind.in_(("user", "import")),
            edit_history.c.kind != "promotion",
        )
        .order_by(edit_history.c.edit_id)
    )


async def _rows(connection: AsyncConnection, query: Select[Any], *, owned: bool = False) -> list[dict[str, Any]]:
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    return rows if owned else [_without(row, *OWNER) for row in rows]


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _unit(row: dict[str, Any]) -> ExportedUnit:
    unit = recorded_unit(row)
    return ExportedUnit(
        blob_id=unit.blob_id,
        **_piece(unit.message_index, unit.part),
        blob_type=row["blob_type"],
        state=unit.state,
        reason=unit.reason,
        content_hash=unit.content_hash,
        window_id=unit.window_id,
        position=unit.position,
        origin=unit.origin,
        recorded_at=unit.recorded_at,
    )


def _blob(row: dict[str, Any]) -> ExportedBlob:
    return ExportedBlob(
        blob_id=row["blob_id"],
        **_piece(row["message_index"], row["part"]),
        blob_type=row["blob_type"],
        content=orjson.loads(row["content"]),
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
    )


def _piece(message_index: int, part: int) -> dict[str, int | None]:
    return {
        "message_index": None if message_index == WHOLE else message_index,
        "part": None if part == WHOLE else part,
    }
