"""What Postgres has published of users, and what still waits in the outbox, each batch as of one moment."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal, cast
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, Select, Text, and_, bindparam, column, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.changes import ProfileEntry
from storage.columns import without_search
from storage.outbox import AggregateType
from storage.outgoing import STATE_MESSAGE_IDS
from storage.profile_writing import profile_row
from storage.reading import user_hash
from storage.tables import edit_history, events, forgotten_users, outbox, profile_history, profiles, units, users
from storage.user_listing import UserKey

# Kinds of edits that bring changes which are not published one by one, but as a state.
_UNPUBLISHED: Final = ("import", "promotion")

ChangeKind = Literal["profile-updated", "event-updated"]


@dataclass(frozen=True, slots=True)
class ChangeKey:
    """What names a change: a user changes one thing in one way at one revision."""

    kind: ChangeKind
    revision: int
    changed_id: UUID
    op: str


@dataclass(frozen=True, slots=True)
class UserState:
    """What `profiles` has to say of a user.

    The newest state on the topic has at least `state_revision`, the last that changed the profile or the user's
    fields, or that of an import or a promotion, and at most `revision`. `is_pending` is True while a state waits in the
    outbox.
    """

    revision: int
    state_revision: int
    entries: tuple[ProfileEntry, ...]
    is_pending: bool


@dataclass(slots=True)
class UserChanges:
    """The changes that a user's memory tells of, with those that wait in the outbox.

    `recorded` has when each was recorded. Of a user from whom something was deleted the history is not whole. What
    came before `forgotten_revision` nobody knows any more. What was recorded up to `imported_revision` came with an
    import, or with the promotion of a shadow, which do not publish their history.
    """

    revision: int
    has_erased: bool = False
    forgotten_revision: int = 0
    imported_revision: int = 0
    recorded: list[tuple[ChangeKey, datetime]] = field(default_factory=list)
    event_ids: set[UUID] = field(default_factory=set)
    pending: set[ChangeKey] = field(default_factory=set)


async def read_states(connection: AsyncConnection, wanted: Collection[UserKey]) -> Mapping[UserKey, UserState]:
    """Those of the users who have a row; in a transaction of REPEATABLE READ, of one moment."""
    page = _page(wanted)
    edited = (
        select(func.max(edit_history.c.revision))
        .where(*_same(edit_history, users), edit_history.c.kind.in_(("user", *_UNPUBLISHED)))
        .scalar_subquery()
    )
    changed = (
        select(func.max(profile_history.c.revision))
        .where(*_same(profile_history, users), profile_history.c.generation == users.c.live_generation)
        .scalar_subquery()
    )
    is_pending = exists().where(*_same(outbox, users), outbox.c.aggregatetype == "profiles")
    query = select(
        users.c.project_id,
        users.c.user_id,
        users.c.revision,
        func.greatest(func.coalesce(edited, 0), func.coalesce(changed, 0)).label("state_revision"),
        is_pending.label("is_pending"),
    ).join(page, and_(*_same(page, users)))
    heads = (await connection.execute(query)).all()
    live = (
        select(*without_search(profiles))
        .join(page, and_(*_same(page, profiles)))
        .join(users, and_(*_same(users, profiles), users.c.live_generation == profiles.c.generation))
        .order_by(profiles.c.topic, profiles.c.sub_topic)
    )
    entries: dict[UserKey, list[ProfileEntry]] = {}
    for row in (await connection.execute(live)).mappings():
        entry = profile_row(row).entry()
        latest = entry.model_copy(update={"message_ids": entry.message_ids[-STATE_MESSAGE_IDS:]})
        entries.setdefault((row["project_id"], row["user_id"]), []).append(latest)
    return {
        (row.project_id, row.user_id): UserState(
            row.revision,
            row.state_revision,
            # As Python sorts them, whatever the database's collation.
            tuple(sorted(entries.get((row.project_id, row.user_id), ()), key=lambda one: (one.topic, one.sub_topic))),
            row.is_pending,
        )
        for row in heads
    }


async def read_changes(connection: AsyncConnection, wanted: Collection[UserKey]) -> Mapping[UserKey, UserChanges]:
    """Those of the users who have a row; in a transaction of REPEATABLE READ, of one moment."""
    page = _page(wanted)
    has_erased = exists().where(
        *_same(units, users), units.c.generation == users.c.live_generation, units.c.state == "erased"
    )
    imported = (
        select(func.max(edit_history.c.revision))
        .where(*_same(edit_history, users), edit_history.c.kind.in_(_UNPUBLISHED))
        .scalar_subquery()
    )
    heads = select(
        users.c.project_id,
        users.c.user_id,
        users.c.revision,
        has_erased.label("has_erased"),
        func.coalesce(imported, 0).label("imported_revision"),
    ).join(page, and_(*_same(page, users)))
    found = {
        (row.project_id, row.user_id): UserChanges(
            row.revision, row.has_erased, imported_revision=row.imported_revision
        )
        for row in (await connection.execute(heads)).all()
    }
    for user, revision in (await forgotten_at(connection, list(found))).items():
        found[user].forgotten_revision = revision

    profile_changes = (
        _of_page(profile_history, page)
        .where(profile_history.c.before.is_distinct_from(profile_history.c.after))
        .order_by(profile_history.c.history_id)
    )
    moved: dict[tuple[UserKey, int, UUID], set[str]] = {}
    for row in (await connection.execute(profile_changes)).all():
        user = (row.project_id, row.user_id)
        if row.extractor is None:
            ops = moved.setdefault((user, row.revision, row.profile_id), set())
            ops.add(row.op)
            # Moved by hand to another slot: it leaves the one and enters the other, and is published as one update.
            if ops == {"c", "d"}:
                key, at = found[user].recorded.pop()
                found[user].recorded.append((replace(key, op="u"), at))
                continue
        found[user].recorded.append(
            (ChangeKey("profile-updated", row.revision, row.profile_id, row.op), row.recorded_at)
        )
    columns = ("project_id", "user_id", "revision", "event_id", "recorded_at", "updated_at")
    created = _of_page(events, page, *columns)
    for row in (await connection.execute(created)).all():
        changes = found[row.project_id, row.user_id]
        changes.event_ids.add(row.event_id)
        # An edit has moved its revision; which one it was made at is not kept.
        if row.updated_at is None:
            key = ChangeKey("event-updated", row.revision, row.event_id, "c")
            changes.recorded.append((key, row.recorded_at))
    edits = _of_page(edit_history, page).where(edit_history.c.kind == "event")
    for row in (await connection.execute(edits)).all():
        changes = found[row.project_id, row.user_id]
        changes.event_ids.add(row.event_id)
        changes.recorded.append((ChangeKey("event-updated", row.revision, row.event_id, row.op), row.recorded_at))
    waiting = (
        select(outbox.c.project_id, outbox.c.user_id, outbox.c.aggregatetype, outbox.c.payload)
        .join(page, and_(*_same(page, outbox)))
        .where(outbox.c.aggregatetype.in_(("profile-updated", "event-updated")), outbox.c.payload.is_not(None))
    )
    for row in (await connection.execute(waiting)).all():
        if (row.project_id, row.user_id) in found:
            found[row.project_id, row.user_id].pending.add(change_key(row.aggregatetype, orjson.loads(row.payload)))
    return found


async def forgotten_at(connection: AsyncConnection, wanted: Sequence[UserKey]) -> Mapping[UserKey, int]:
    """The last revision before they were forgotten, of those of the users who were."""
    by_hash = {user_hash(*user): user for user in wanted}
    query = select(forgotten_users.c.user_hash, forgotten_users.c.last_revision).where(
        forgotten_users.c.user_hash == func.any(_texts("hashes", list(by_hash)))
    )
    return {by_hash[row.user_hash]: row.last_revision for row in (await connection.execute(query)).all()}


async def pending_of(connection: AsyncConnection, wanted: Collection[UserKey], kind: AggregateType) -> set[UserKey]:
    """Those of the users of whom something of this kind waits in the outbox, with or without a row of theirs."""
    page = _page(wanted)
    query = (
        select(outbox.c.project_id, outbox.c.user_id)
        .join(page, and_(*_same(page, outbox)))
        .where(outbox.c.aggregatetype == kind)
    )
    return {(row.project_id, row.user_id) for row in (await connection.execute(query)).all()}


def change_key(kind: ChangeKind, document: Mapping[str, Any]) -> ChangeKey:
    """What names the change that this value tells of."""
    changed = document["after"] or document["before"]
    return ChangeKey(kind, int(document["revision"]), UUID(changed["id"]), document["op"])


def _page(wanted: Collection[UserKey]) -> Any:
    columns = (_texts(f"page_{number}", [user[number] for user in wanted]) for number in range(2))
    return (
        func.unnest(*columns).table_valued(column("project_id", Text), column("user_id", Text)).render_derived("page")
    )


def _same(one: Any, other: Any) -> tuple[Any, Any]:
    return one.c.project_id == other.c.project_id, one.c.user_id == other.c.user_id


def _of_page(item: Any, page: Any, *names: str) -> Select[Any]:
    """The rows of the page's users, in the generation that is read."""
    columns = [item.c[name] for name in names] if names else list(item.c)
    return (
        select(*columns)
        .join(page, and_(*_same(page, item)))
        .join(users, and_(*_same(users, item), users.c.live_generation == item.c.generation))
    )


def _texts(name: str, values: Sequence[str]) -> Any:
    return bindparam(name, list(values), cast(Any, ARRAY(Text)))
