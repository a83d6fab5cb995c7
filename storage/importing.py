"""A user's whole memory into Postgres, in one transaction: all of it where nothing is remembered yet, or nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ARRAY, Column, Table, Uuid, bindparam, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import Conflict
from schemas.export import ExportedUnit, UserExport, counts_of
from schemas.identity import derived_uuid
from storage.exporting import read_export
from storage.locking import LockedUser, count_on, lock_user
from storage.outbox import append_rows
from storage.outgoing import Outgoing
from storage.reading import read_cut_off
from storage.snapshot import add_state
from storage.tables import (
    blobs,
    edit_history,
    events,
    gists,
    ledger,
    profile_history,
    profiles,
    units,
    user_statuses,
    users,
)
from storage.text import storable_json, to_json
from storage.units import WHOLE

ImportSource = Literal["export", "memobase"]
ImportResult = Literal["imported", "unchanged"]
RefusalReason = Literal["forgotten", "changed-since", "holds-memory", "other-fields", "too-large"]

_ADVICE: Final[Mapping[RefusalReason, str]] = {
    "forgotten": "the user was forgotten here: --forgotten brings what is in the import back all the same",
    "changed-since": "the user was imported before, from a source that has changed since: what is there stays; "
    "forget the user first, then import with --forgotten",
    "holds-memory": "something is remembered of the user here already, and stays: forget the user first, then import "
    "with --forgotten",
    "other-fields": "the user is there with other fields: make them equal, or delete the user first",
    "too-large": "the profile or an event would not fit a record of the change topics: raise buffer.max_blob_bytes "
    "everywhere",
}
_MEMORY: Final = (profiles, profile_history, events, units, blobs, user_statuses)


class ImportRefused(Conflict):
    """Nothing of the user is imported; `reason` is a word, the text has the fix."""

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(_ADVICE[reason])
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Importer:
    """How users are imported: from where, when, and what may be. `max_payload_bytes` is what the topics of changes take
    as one record.
    """

    source: ImportSource
    now: datetime
    new_id: Callable[[], UUID]
    max_payload_bytes: int
    revives_forgotten: bool = False


async def import_user(connection: AsyncConnection, export: UserExport, how: Importer) -> ImportResult:
    """Write a user's memory with its history, and publish its state: `op: "r"`, as a snapshot does.

    `unchanged` where this was imported before, or all of it is there already: then nothing is written. Raises
    ImportRefused, after which the caller rolls back. In the caller's transaction, under the user's row lock.
    """
    digest = export.digest()
    user = await lock_user(connection, export.project_id, export.user_id, how.now)
    if await _is_there(connection, user, export, digest, how):
        return "unchanged"
    renamed = await _renamed(connection, user, export)
    revision = max(user.revision + 1, export.newest_revision)
    await _write_profile(connection, user, export, renamed)
    await _write_events(connection, user, export, renamed)
    await _write_edits(connection, user, export, renamed, _import_row(export, digest, how, revision))
    await _write_blobs(connection, user, export)
    outgoing = Outgoing(user.project_id, user.user_id, user.seq, how.now, how.new_id)
    await add_state(connection, user, revision, outgoing, with_events=True)
    if any(len(row.payload.encode()) > how.max_payload_bytes for row in outgoing.rows if row.payload is not None):
        raise ImportRefused("too-large")
    await append_rows(connection, outgoing.rows)
    await count_on(connection, user, revision=revision, seq=outgoing.seq, now=how.now)
    await connection.execute(
        update(users)
        .where(users.c.project_id == user.project_id, users.c.user_id == user.user_id)
        .values(
            additional_fields=storable_json(export.fields),
            created_at=func.least(users.c.created_at, export.created_at),
            # What is remembered is as old as it was.
            updated_at=export.updated_at,
        )
    )
    return "imported"


async def _is_there(
    connection: AsyncConnection, user: LockedUser, export: UserExport, digest: str, how: Importer
) -> bool:
    origin = edit_history.c.after
    imports = select(origin["digest"].astext, origin["source"].astext).where(
        # Of every generation: an import stays known when a shadow is promoted.
        edit_history.c.project_id == user.project_id,
        edit_history.c.user_id == user.user_id,
        edit_history.c.kind == "import",
    )
    known = [] if user.is_new else (await connection.execute(imports)).all()
    if any(row[0] == digest for row in known):
        return True
    if not how.revives_forgotten and await read_cut_off(connection, user.project_id, user.user_id) is not None:
        raise ImportRefused("forgotten")
    if user.is_new:
        return False
    if await _holds_memory(connection, user):
        there = await read_export(connection, user.project_id, user.user_id, how.now)
        if there is not None and there.digest() == digest:
            return True
        raise ImportRefused("changed-since" if any(row[1] == how.source for row in known) else "holds-memory")
    fields = await connection.scalar(
        select(users.c.additional_fields).where(users.c.project_id == user.project_id, users.c.user_id == user.user_id)
    )
    if fields is not None and fields != export.fields:
        raise ImportRefused("other-fields")
    return False


async def _holds_memory(connection: AsyncConnection, user: LockedUser) -> bool:
    edited = exists().where(*_of(edit_history, user), edit_history.c.kind != "user")
    found = [exists().where(*_of(table, user)) for table in _MEMORY]
    return bool(await connection.scalar(select(or_(edited, *found))))


async def _renamed(connection: AsyncConnection, user: LockedUser, export: UserExport) -> Mapping[UUID, UUID]:
    """Other ids for what somebody else has in this database: a copy of a user, beside the original."""
    sought: tuple[tuple[Column[UUID], Iterable[UUID]], ...] = (
        (profiles.c.profile_id, (entry.id for entry in export.profile)),
        (events.c.event_id, (event.id for event in export.events)),
        (gists.c.gist_id, (gist.id for event in export.events for gist in event.gists)),
    )
    taken: list[UUID] = []
    for column, identifiers in sought:
        query = select(column).where(column == func.any(bindparam("ids", list(identifiers), ARRAY(Uuid))))
        taken += (await connection.scalars(query)).all()
    return {identifier: derived_uuid("import", user.project_id, user.user_id, identifier) for identifier in taken}


async def _write_profile(
    connection: AsyncConnection, user: LockedUser, export: UserExport, renamed: Mapping[UUID, UUID]
) -> None:
    entries = [
        {**row, "profile_id": renamed.get(row["id"], row["id"])} for row in (one.model_dump() for one in export.profile)
    ]
    await _insert(connection, user, profiles, [_without(row, "id") for row in entries])
    changes = [one.model_dump() for one in export.history]
    for row in changes:
        row["profile_id"] = renamed.get(row["profile_id"], row["profile_id"])
    await _insert(connection, user, profile_history, changes)


async def _write_events(
    connection: AsyncConnection, user: LockedUser, export: UserExport, renamed: Mapping[UUID, UUID]
) -> None:
    found: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for event in export.events:
        event_id = renamed.get(event.id, event.id)
        found.append({"event_id": event_id, **event.model_dump(exclude={"id", "gists"})})
        for number, gist in enumerate(event.gists):
            place = {"gist_id": renamed.get(gist.id, gist.id), "event_id": event_id, "number": number}
            lines.append({**place, **gist.model_dump(exclude={"id"})})
    await _insert(connection, user, events, found)
    await _insert(connection, user, gists, lines)


async def _write_edits(
    connection: AsyncConnection,
    user: LockedUser,
    export: UserExport,
    renamed: Mapping[UUID, UUID],
    import_row: Mapping[str, Any],
) -> None:
    edits = [one.model_dump() for one in export.edits]
    for row in edits:
        row["event_id"] = renamed.get(row["event_id"], row["event_id"])
    await _insert(connection, user, edit_history, [*edits, import_row])


def _import_row(export: UserExport, digest: str, how: Importer, revision: int) -> Mapping[str, Any]:
    """What tells a second import that this one was done, and the audit since when it may ask for changes."""
    origin = {
        "source": how.source,
        "digest": digest,
        "project_id": export.project_id,
        "user_id": export.user_id,
        "revision": export.revision,
        "exported_at": export.exported_at.isoformat(),
        **counts_of(export),
    }
    said = {"kind": "import", "event_id": None, "op": "c", "before": None, "after": origin}
    return {**said, "revision": revision, "recorded_at": how.now}


async def _write_blobs(connection: AsyncConnection, user: LockedUser, export: UserExport) -> None:
    windows = {unit.window_id for unit in export.units if unit.window_id is not None}
    # A window that this installation has not applied would look like one that it has lost.
    query = select(ledger.c.ledger_id).where(
        ledger.c.project_id == user.project_id,
        ledger.c.user_id == user.user_id,
        ledger.c.ledger_id == func.any(bindparam("ids", list(windows), ARRAY(Uuid))),
    )
    known = set((await connection.scalars(query)).all()) if windows else set()
    await _insert(connection, user, units, [_unit_row(unit, known) for unit in export.units])
    rows = [
        {
            **_piece(one.message_index, one.part),
            **one.model_dump(include={"blob_id", "blob_type", "occurred_at", "recorded_at"}),
            "content": to_json(one.content),
        }
        for one in export.blobs
    ]
    await _insert(connection, user, blobs, rows)
    await _insert(connection, user, user_statuses, [one.model_dump() for one in export.statuses])


def _unit_row(unit: ExportedUnit, known: set[UUID]) -> dict[str, Any]:
    row = unit.model_dump(include={"blob_id", "blob_type", "state", "reason", "content_hash", "recorded_at"})
    row |= _piece(unit.message_index, unit.part)
    is_ours = unit.window_id in known
    row["window_id"] = unit.window_id if is_ours else None
    # The dead letter of what was parked elsewhere lies elsewhere, too; of the rest `why` may find the text.
    position = unit.position if is_ours or unit.state != "parked" else None
    for prefix, place in (("", position), ("origin_", unit.origin)):
        for name in ("topic", "partition", "offset", "timestamp_ms"):
            row[prefix + name] = None if place is None else getattr(place, name)
    return row


def _piece(message_index: int | None, part: int | None) -> dict[str, int]:
    return {
        "message_index": WHOLE if message_index is None else message_index,
        "part": WHOLE if part is None else part,
    }


async def _insert(
    connection: AsyncConnection, user: LockedUser, table: Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Rows of the user, in their order. Only JSON that is kept as text may hold a NUL."""
    if not rows:
        return
    owner = {name: value for name, value in user.owner.items() if name in table.c}
    # Numbers of the history are drawn row by row, in this order.
    await connection.execute(insert(table), [{**owner, **storable_json(dict(row))} for row in rows])


def _of(table: Table, user: LockedUser) -> list[Any]:
    return [table.c[name] == value for name, value in user.owner.items() if name in table.c]


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}
