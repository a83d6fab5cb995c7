"""What extraction needs to know before it starts: the profile, and which units are new."""

from collections.abc import Collection, Mapping
from typing import Final, cast

from sqlalchemy import ARRAY, BindParameter, ColumnElement, Text, and_, bindparam, func, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.identity import content_hash
from schemas.memory import Correction, Profile, Slot
from schemas.windows import MessageId, Position
from storage.columns import LIVE_GENERATION
from storage.compiled import Compiled, Record
from storage.shadow_tables import shadow_users
from storage.tables import forgotten_users, profile_history, profiles, units, users
from storage.units import ForgetCutOff, RecordedUnit, UnitBook, UnitState, book_of

# Reasons of history rows by hand that set a slot right.
EDITED: Final = "edited"
REMOVED: Final = "removed"
CORRECTED: Final = (EDITED, REMOVED)

_PROJECT_ID: Final[BindParameter[str]] = bindparam("project_id")
_USER_ID: Final[BindParameter[str]] = bindparam("user_id")

_SLOT: Final = tuple(
    profiles.c[name]
    for name in ("profile_id", "topic", "sub_topic", "content", "occurred_at", "update_hits", "message_ids")
)
_PROFILE: Final = Compiled(
    select(
        users.c.revision,
        users.c.live_generation,
        *_SLOT,
    )
    .select_from(users)
    .outerjoin(
        profiles,
        (profiles.c.project_id == users.c.project_id)
        & (profiles.c.user_id == users.c.user_id)
        & (profiles.c.generation == users.c.live_generation),
    )
    .where(users.c.project_id == _PROJECT_ID, users.c.user_id == _USER_ID)
    .order_by(profiles.c.topic, profiles.c.sub_topic),
    alone=True,
)
_SHADOW_PROFILE: Final = Compiled(
    select(shadow_users.c.revision, shadow_users.c.generation.label("live_generation"), *_SLOT)
    .select_from(shadow_users)
    .outerjoin(
        profiles,
        (profiles.c.project_id == shadow_users.c.project_id)
        & (profiles.c.user_id == shadow_users.c.user_id)
        & (profiles.c.generation == shadow_users.c.generation),
    )
    .where(
        shadow_users.c.project_id == _PROJECT_ID,
        shadow_users.c.user_id == _USER_ID,
        shadow_users.c.generation == bindparam("generation"),
    )
    .order_by(profiles.c.topic, profiles.c.sub_topic),
    alone=True,
)
_CORRECTIONS: Final = Compiled(
    select(
        profile_history.c.topic,
        profile_history.c.sub_topic,
        func.max(profile_history.c.occurred_at).label("corrected_at"),
    )
    .where(
        profile_history.c.project_id == _PROJECT_ID,
        profile_history.c.user_id == _USER_ID,
        profile_history.c.generation == bindparam("generation"),
        profile_history.c.extractor.is_(None),
        or_(*(profile_history.c.why == why for why in CORRECTED)),
    )
    .group_by(profile_history.c.topic, profile_history.c.sub_topic)
    .order_by(profile_history.c.topic, profile_history.c.sub_topic),
    alone=True,
)
_LIVE: Final = (
    select(users.c.live_generation)
    .where(users.c.project_id == _PROJECT_ID, users.c.user_id == _USER_ID)
    .scalar_subquery()
)
_IS_FORGOTTEN: Final = forgotten_users.c.user_hash == bindparam("user_hash")
_FORGOTTEN: Final = Compiled(select(forgotten_users).where(_IS_FORGOTTEN), alone=True)
_IS_LIVE: Final = units.c.generation == func.coalesce(_LIVE, LIVE_GENERATION)


def _units(condition: ColumnElement[bool]) -> Compiled:
    """Of one moment, in one round trip; at least a row, for the user may have been forgotten and no unit be known."""
    return Compiled(
        select(*units.c, forgotten_users.c.forgotten_at, forgotten_users.c.offsets).select_from(
            select(literal_column("1"))
            .subquery("one")
            .outerjoin(
                units,
                and_(
                    units.c.project_id == _PROJECT_ID,
                    units.c.user_id == _USER_ID,
                    condition,
                    units.c.blob_id == func.any(bindparam("blob_ids", type_=ARRAY(Text))),
                ),
            )
            .outerjoin(forgotten_users, _IS_FORGOTTEN)
        ),
        alone=True,
    )


_UNITS: Final = _units(_IS_LIVE)
# What was deleted stays out of a shadow, too.
_SHADOW_UNITS: Final = _units(
    or_(units.c.generation == bindparam("generation"), and_(_IS_LIVE, units.c.state == "erased"))
)


def user_hash(project_id: str, user_id: str) -> str:
    """All that is kept of the name of a forgotten user: SHA-256 of project and user, hex."""
    return content_hash([project_id, user_id])


async def read_profile(
    connection: AsyncConnection, project_id: str, user_id: str, shadow: int | None = None
) -> Profile:
    """The live profile, or that of a shadow's generation. Revision 0 for a user never seen; of live memory one who was
    forgotten goes on counting.
    """
    if shadow is None:
        rows = await _PROFILE.rows(connection, project_id=project_id, user_id=user_id)
    else:
        rows = await _SHADOW_PROFILE.rows(connection, project_id=project_id, user_id=user_id, generation=shadow)
        if not rows:
            return Profile(revision=0)
    if not rows:
        known = await _FORGOTTEN.row(connection, user_hash=user_hash(project_id, user_id))
        return Profile(revision=0 if known is None else known["last_revision"])
    slots = (
        Slot(
            profile_id=row["profile_id"],
            topic=row["topic"],
            sub_topic=row["sub_topic"],
            content=row["content"],
            occurred_at=row["occurred_at"],
            update_hits=row["update_hits"],
            message_ids=tuple(MessageId(identifier) for identifier in row["message_ids"]),
        )
        for row in rows
        if row["profile_id"] is not None
    )
    corrected = await _CORRECTIONS.rows(
        connection, project_id=project_id, user_id=user_id, generation=rows[0]["live_generation"]
    )
    corrections = tuple(Correction(row["topic"], row["sub_topic"], row["corrected_at"]) for row in corrected)
    return Profile(revision=rows[0]["revision"], slots=tuple(slots), corrections=corrections)


async def look_up_units(
    connection: AsyncConnection, project_id: str, user_id: str, blob_ids: Collection[str], shadow: int | None = None
) -> UnitBook:
    """What is recorded of these blobs in the live generation, or in a shadow's, and the user's last forget."""
    named = {
        "project_id": project_id,
        "user_id": user_id,
        "blob_ids": list(set(blob_ids)),
        "user_hash": user_hash(project_id, user_id),
    }
    if shadow is None:
        rows = await _UNITS.rows(connection, **named)
    else:
        rows = await _SHADOW_UNITS.rows(connection, **named, generation=shadow)
    return book_of((recorded_unit(row) for row in rows if row["blob_id"] is not None), _cut_off(rows[0]))


async def read_cut_off(connection: AsyncConnection, project_id: str, user_id: str) -> ForgetCutOff | None:
    """The user's last forget, if there was one."""
    row = await _FORGOTTEN.row(connection, user_hash=user_hash(project_id, user_id))
    return None if row is None else _cut_off(row)


def _cut_off(row: Record) -> ForgetCutOff | None:
    if row["forgotten_at"] is None:
        return None
    return ForgetCutOff(row["forgotten_at"], offsets_from_json(row["offsets"]))


def offsets_from_json(document: Mapping[str, Mapping[str, int]]) -> dict[tuple[str, int], int]:
    """Offsets by topic and partition, from the nested form that JSON can hold."""
    return {(topic, int(partition)): end for topic, ends in document.items() for partition, end in ends.items()}


def offsets_to_json(offsets: Mapping[tuple[str, int], int]) -> dict[str, dict[str, int]]:
    """The nested form of `offsets_from_json`."""
    document: dict[str, dict[str, int]] = {}
    for (topic, partition), end in sorted(offsets.items()):
        document.setdefault(topic, {})[str(partition)] = end
    return document


def recorded_unit(row: Record) -> RecordedUnit:
    """A row of `units` as a value."""
    position = origin = None
    if row["topic"] is not None:
        position = Position(
            topic=row["topic"], partition=row["partition"], offset=row["offset"], timestamp_ms=row["timestamp_ms"]
        )
    if row["origin_topic"] is not None:
        origin = Position(
            topic=row["origin_topic"],
            partition=row["origin_partition"],
            offset=row["origin_offset"],
            timestamp_ms=row["origin_timestamp_ms"],
        )
    return RecordedUnit(
        project_id=row["project_id"],
        user_id=row["user_id"],
        blob_id=row["blob_id"],
        message_index=row["message_index"],
        part=row["part"],
        state=cast(UnitState, row["state"]),
        reason=row["reason"],
        content_hash=row["content_hash"],
        window_id=row["window_id"],
        position=position,
        origin=origin,
        recorded_at=row["recorded_at"],
    )
