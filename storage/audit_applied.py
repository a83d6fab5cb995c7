"""What was applied, when, and from where: streamed for `memostream audit`, which decides."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.reading import recorded_unit
from storage.tables import events, ledger, profile_history, units, users
from storage.units import ID_CONFLICT, RecordedUnit

STREAMED_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class RecordRange:
    """Records of `chat-messages` by partition: first offset, and next offset after the last."""

    topic: str
    begin: Mapping[int, int]
    end: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class TimeRange:
    """By `recorded_at`; None is open."""

    begin: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class AppliedWindow:
    """A window that changed memory. `revision` is the user's of the first change, `position` that of the window on
    extraction-windows; `first` and `last` are the offsets of its records on one partition of `chat-messages`, None
    where something of it was parked, for that may have been sent again since.
    """

    project_id: str
    user_id: str
    window_id: UUID
    blob_type: str
    revision: int
    window_partition: tuple[str, int]
    window_offset: int
    partition: tuple[str, int]
    first: int | None
    last: int | None


async def several_applied(connection: AsyncConnection, wanted: RecordRange | None) -> AsyncIterator[list[RecordedUnit]]:
    """The applied units of every blob that has several, blob by blob."""
    of_blob = func.count().over(partition_by=(units.c.project_id, units.c.user_id, units.c.blob_id)).label("of_blob")
    counted = select(*units.c, of_blob).where(_applied(), is_live(units), *in_range(wanted)).subquery()
    query = (
        select(counted)
        .where(counted.c.of_blob > 1)
        .order_by(counted.c.project_id, counted.c.user_id, counted.c.blob_id)
    )
    blob: list[RecordedUnit] = []
    async with connection.stream(query) as rows:
        async for row in rows.mappings():
            unit = recorded_unit(row)
            if blob and (blob[0].project_id, blob[0].user_id, blob[0].blob_id) != (
                unit.project_id,
                unit.user_id,
                unit.blob_id,
            ):
                yield blob
                blob = []
            blob.append(unit)
    if blob:
        yield blob


async def cited_twice(
    connection: AsyncConnection, wanted: TimeRange, limit: int
) -> tuple[int, list[tuple[str, str, str]]]:
    """How many messages two events of different extractions were taken from, and the first of them: project, user,
    message. A message that was cut into parts, or parked and sent again, may be; so may an event that was edited.
    """
    cited = (
        select(
            events.c.project_id,
            events.c.user_id,
            events.c.revision,
            func.unnest(events.c.message_ids).label("message_id"),
        )
        .where(is_live(events), events.c.updated_at.is_(None), *_recorded(events, wanted))
        .subquery()
    )
    several = (
        select(cited.c.project_id, cited.c.user_id, cited.c.message_id)
        .group_by(cited.c.project_id, cited.c.user_id, cited.c.message_id)
        .having(func.count(func.distinct(cited.c.revision)) > 1)
        .subquery()
    )
    blob_id = func.regexp_replace(several.c.message_id, "/[0-9]+$", "")
    in_parts = (
        select(units.c.blob_id)
        .where(
            units.c.project_id == several.c.project_id,
            units.c.user_id == several.c.user_id,
            units.c.blob_id == blob_id,
            is_live(units),
            or_(units.c.part >= 0, units.c.state != "applied"),
        )
        .exists()
    )
    query = select(several, func.count().over().label("total")).where(~in_parts).limit(limit)
    rows = (await connection.execute(query)).all()
    found = [(row.project_id, row.user_id, row.message_id) for row in rows]
    return (int(rows[0].total) if rows else 0), found


async def applied_windows(connection: AsyncConnection, wanted: RecordRange | None) -> AsyncIterator[AppliedWindow]:
    """Every window that changed memory, user by user in the order of revisions; those applied together by offset."""
    revisions = union_all(*(_revisions(item, condition) for item, condition in _EVIDENCE)).subquery()
    first_revision = (
        select(
            revisions.c.project_id,
            revisions.c.user_id,
            revisions.c.window_id,
            func.min(revisions.c.revision).label("revision"),
        )
        .group_by(revisions.c.project_id, revisions.c.user_id, revisions.c.window_id)
        .subquery()
    )
    of_window = (
        select(
            units.c.project_id,
            units.c.user_id,
            units.c.window_id,
            units.c.blob_type,
            units.c.topic,
            units.c.partition,
            func.min(units.c.offset).label("first"),
            func.max(units.c.offset).label("last"),
        )
        .where(
            _applied(), is_live(units), units.c.window_id.is_not(None), units.c.topic.is_not(None), *in_range(wanted)
        )
        .group_by(
            *(units.c[name] for name in ("project_id", "user_id", "window_id", "blob_type", "topic", "partition"))
        )
        .subquery()
    )
    query = (
        select(
            of_window,
            first_revision.c.revision,
            ledger.c.topic.label("window_topic"),
            ledger.c.partition.label("window_partition"),
            ledger.c.offset.label("window_offset"),
            ledger.c.parked_count,
        )
        .join(
            first_revision,
            and_(*(of_window.c[name] == first_revision.c[name] for name in ("project_id", "user_id", "window_id"))),
        )
        .join(ledger, ledger.c.ledger_id == of_window.c.window_id)
        # One that was parked as a whole keeps its place in the ledger when it is sent again.
        .where(ledger.c.applied_count > 0)
        .order_by(of_window.c.project_id, of_window.c.user_id, first_revision.c.revision, ledger.c.offset)
    )
    async with connection.stream(query) as rows:
        async for row in rows:
            is_whole = row.parked_count == 0
            yield AppliedWindow(
                project_id=row.project_id,
                user_id=row.user_id,
                window_id=row.window_id,
                blob_type=row.blob_type,
                revision=row.revision,
                window_partition=(row.window_topic, row.window_partition),
                window_offset=row.window_offset,
                partition=(row.topic, row.partition),
                first=row.first if is_whole else None,
                last=row.last if is_whole else None,
            )


# An edit by hand gives an event another revision; of a profile's history only what was extracted names windows.
_EVIDENCE: Final = (
    (events, events.c.updated_at.is_(None)),
    (profile_history, profile_history.c.extractor.is_not(None)),
)


def _revisions(item: Any, condition: ColumnElement[bool]) -> Select[Any]:
    return select(
        item.c.project_id, item.c.user_id, item.c.revision, func.unnest(item.c.window_ids).label("window_id")
    ).where(is_live(item), condition)


def _applied() -> ColumnElement[bool]:
    return (units.c.state == "applied") & func.coalesce(units.c.reason != ID_CONFLICT, True)


def is_live(item: Any) -> ColumnElement[bool]:
    return exists().where(
        users.c.project_id == item.c.project_id,
        users.c.user_id == item.c.user_id,
        users.c.live_generation == item.c.generation,
    )


def in_range(wanted: RecordRange | None) -> list[ColumnElement[bool]]:
    if wanted is None:
        return []
    within = [
        (units.c.partition == number) & (units.c.offset >= begin) & (units.c.offset < wanted.end[number])
        for number, begin in wanted.begin.items()
    ]
    return [units.c.topic == wanted.topic, or_(*within)]


def _recorded(item: Any, wanted: TimeRange) -> list[ColumnElement[bool]]:
    conditions = []
    if wanted.begin is not None:
        conditions.append(item.c.recorded_at >= wanted.begin)
    if wanted.end is not None:
        conditions.append(item.c.recorded_at < wanted.end)
    return conditions
