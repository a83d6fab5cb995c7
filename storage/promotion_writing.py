"""Writes a promotion: the shadow's rows become the live ones, and what they take the place of goes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Table,
    Uuid,
    bindparam,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.locking import LockedUser, live_rows
from storage.profile_writing import ProfileRow
from storage.promotion_events import PromotedEvents
from storage.promotion_profile import PromotedProfile
from storage.shadow_tables import shadow_letters, shadow_users, shadow_windows
from storage.tables import edit_history, events, gists, ledger, profile_history, profiles, units, users
from storage.units import ID_CONFLICT

# What an event that says the same takes over from the shadow's.
_TAKEN_OVER: Final = ("window_ids", "extractor", "profile_delta", "session_ids")


@dataclass(frozen=True, slots=True)
class Switch:
    """A locked user whose memory is changed for that of a generation, and the counters afterwards."""

    user: LockedUser
    generation: int
    shadow: str
    revision: int
    seq: int
    now: datetime

    @property
    def promoted(self) -> LockedUser:
        """The user as they are afterwards."""
        return LockedUser(self.user.project_id, self.user.user_id, self.revision, self.seq, self.generation)


async def write_switch(
    connection: AsyncConnection, switch: Switch, profile: PromotedProfile, found_events: PromotedEvents
) -> None:
    """All that a promotion changes but the outbox. History of the memory that goes stays where it is."""
    await _write_profile(connection, switch, profile)
    await _write_history(connection, switch, profile)
    await _write_events(connection, switch, found_events)
    await _write_units(connection, switch)
    await _write_ledger(connection, switch)
    await _write_edits(connection, switch)
    await _write_user(connection, switch)


async def _write_profile(connection: AsyncConnection, switch: Switch, profile: PromotedProfile) -> None:
    await _delete_of(connection, profiles.c.profile_id, profile.dropped)
    if profile.kept:
        await connection.execute(
            update(profiles).where(profiles.c.profile_id.in_(profile.kept)).values(generation=switch.generation)
        )
    await connection.execute(delete(profiles).where(*live_rows(switch.user, profiles)))
    await _rename(connection, switch, profiles, profile.renamed)
    if profile.written:
        await connection.execute(
            insert(profiles), [{**switch.promoted.owner, **_values(row)} for row in profile.written]
        )


async def _write_history(connection: AsyncConnection, switch: Switch, profile: PromotedProfile) -> None:
    """Its rows were never published one by one: they count as of the promotion."""
    await _rename(connection, switch, profile_history, profile.renamed)
    await _copy(connection, switch, dict.fromkeys(profile.copied))
    if profile.moved:
        query = select(profile_history.c.history_id, profile_history.c.profile_id).where(
            profile_history.c.history_id.in_(profile.moved)
        )
        rows = (await connection.execute(query)).all()
        await _copy(connection, switch, {(row.history_id, row.profile_id): None for row in rows})
        await connection.execute(delete(profile_history).where(profile_history.c.history_id.in_(profile.moved)))
    await connection.execute(
        update(profile_history).where(*live_rows(switch.promoted, profile_history)).values(revision=switch.revision)
    )


async def _copy(connection: AsyncConnection, switch: Switch, rows: Mapping[tuple[int, UUID], None]) -> None:
    """Put history rows, by number, on top of the promoted history, each as one of the entry that is named."""
    if not rows:
        return
    listed = _listed(
        "listed",
        history_id=([number for number, _ in rows], BigInteger),
        entry_id=([identifier for _, identifier in rows], Uuid),
    )
    given: Mapping[str, Any] = {"generation": literal(switch.generation), "profile_id": listed.c.entry_id}
    names = [item.name for item in profile_history.c if item.name != "history_id"]
    copies = (
        select(*(given.get(name, profile_history.c[name]) for name in names))
        .join(listed, listed.c.history_id == profile_history.c.history_id)
        .order_by(profile_history.c.history_id)
    )
    await connection.execute(insert(profile_history).from_select(names, copies, include_defaults=False))


async def _write_events(connection: AsyncConnection, switch: Switch, found: PromotedEvents) -> None:
    if found.same:
        pairs = _listed("pairs", live_id=(list(found.same), Uuid), shadow_id=(list(found.same.values()), Uuid))
        twin = events.alias("twin")
        await connection.execute(
            update(events)
            .where(events.c.event_id == pairs.c.live_id, twin.c.event_id == pairs.c.shadow_id)
            .values({name: twin.c[name] for name in _TAKEN_OVER})
        )
    stay = [*found.kept, *found.same]
    if stay:
        for table in (events, gists):
            await connection.execute(
                update(table).where(table.c.event_id.in_(stay)).values(generation=switch.generation)
            )
    await _delete_of(connection, events.c.event_id, [*found.dropped, *found.same.values()])
    await connection.execute(delete(events).where(*live_rows(switch.user, events)))
    await connection.execute(update(events).where(*live_rows(switch.promoted, events)).values(revision=switch.revision))


async def _write_units(connection: AsyncConnection, switch: Switch) -> None:
    """What was erased stays so, and a blob that came under another's id stays known, unless the shadow knows of it."""
    known = units.alias("known")
    same = ("project_id", "user_id", "blob_id", "message_index", "part")
    is_known = exists().where(
        *(known.c[name] == units.c[name] for name in same),
        known.c.generation == switch.generation,
        known.c.content_hash.is_not_distinct_from(units.c.content_hash),
    )
    of_user = live_rows(switch.user, units)
    is_carried = or_(units.c.state == "erased", units.c.reason == ID_CONFLICT)
    await connection.execute(update(units).where(*of_user, is_carried, ~is_known).values(generation=switch.generation))
    await connection.execute(delete(units).where(*of_user))


async def _write_ledger(connection: AsyncConnection, switch: Switch) -> None:
    names = [
        *("project_id", "user_id", "topic", "partition", "offset", "outcome", "recorded_at"),
        *("applied_count", "parked_count", "duplicate_count", "erased_count"),
    ]
    of_user = live_rows(switch.promoted, shadow_windows)
    done = select(shadow_windows.c.window_id, literal("window"), *(shadow_windows.c[name] for name in names)).where(
        *of_user
    )
    await connection.execute(
        upsert(ledger).from_select(["ledger_id", "kind", *names], done, include_defaults=False).on_conflict_do_nothing()
    )
    for table in (shadow_windows, shadow_letters):
        await connection.execute(delete(table).where(*live_rows(switch.promoted, table)))


async def _write_edits(connection: AsyncConnection, switch: Switch) -> None:
    """Edits of events go with these: the next promotion looks for them there."""
    await connection.execute(
        update(edit_history)
        .where(*live_rows(switch.user, edit_history), edit_history.c.kind == "event")
        .values(generation=switch.generation)
    )
    await connection.execute(
        insert(edit_history).values(
            **switch.promoted.owner,
            kind="promotion",
            op="u",
            before={"generation": switch.user.live_generation},
            after={"generation": switch.generation, "shadow": switch.shadow},
            revision=switch.revision,
            recorded_at=switch.now,
        )
    )


async def _write_user(connection: AsyncConnection, switch: Switch) -> None:
    def count_of(table: Table) -> Any:
        return select(func.count()).select_from(table).where(*live_rows(switch.promoted, table)).scalar_subquery()

    await connection.execute(
        update(users)
        .where(users.c.project_id == switch.user.project_id, users.c.user_id == switch.user.user_id)
        .values(
            live_generation=switch.generation,
            revision=switch.revision,
            seq=switch.seq,
            # Triggers count rows of the live generation as they come and go, and these are another's.
            profile_count=count_of(profiles),
            event_count=count_of(events),
            updated_at=switch.now,
        )
    )
    await connection.execute(
        update(shadow_users).where(*live_rows(switch.promoted, shadow_users)).values(promoted_at=switch.now)
    )


async def _rename(connection: AsyncConnection, switch: Switch, table: Table, renamed: Mapping[UUID, UUID]) -> None:
    """Give rows of the shadow the ids by which they are known."""
    if not renamed:
        return
    listed = _listed("listed", former=(list(renamed), Uuid), entry_id=(list(renamed.values()), Uuid))
    await connection.execute(
        update(table)
        .where(*live_rows(switch.promoted, table), table.c.profile_id == listed.c.former)
        .values(profile_id=listed.c.entry_id)
    )


async def _delete_of(connection: AsyncConnection, identifier: Any, ids: Collection[UUID]) -> None:
    if ids:
        await connection.execute(delete(identifier.table).where(identifier.in_(ids)))


def _values(row: ProfileRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def _listed(name: str, **columns: tuple[Collection[Any], Any]) -> Any:
    """Lists of values as a table."""
    values = (bindparam(f"{name}_{item}", list(listed), ARRAY(kind)) for item, (listed, kind) in columns.items())
    named = (column(item, kind) for item, (_, kind) in columns.items())
    return func.unnest(*values).table_valued(*named).render_derived(name)
