"""Promotes a shadow's memory of one user: it takes the place of the live one, with what was edited by hand on top."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas import headers as header_names
from schemas.memory import ExtractorIdentity
from storage.locking import lock_name, lock_user
from storage.outbox import append_rows
from storage.outgoing import Outgoing, change_source
from storage.profile_writing import ProfileRow
from storage.promotion_coverage import Barrier, Left, check_covered
from storage.promotion_events import PromotedEvents, decide_events
from storage.promotion_profile import PromotedProfile, decide_profile
from storage.promotion_reading import Letter, Sides, read_sides
from storage.promotion_writing import Switch, write_switch
from storage.shadows import lock_shadow_row
from storage.tables import users
from storage.units import ID_CONFLICT

PromotionResult = Literal["promoted", "already", "gone"]


@dataclass(frozen=True, slots=True)
class Promoter:
    """How users are promoted to the shadow of this name and generation.

    `max_payload_bytes` is what the topics of changes take as one record. Without `execute` nothing is written.
    """

    shadow: str
    generation: int
    barrier: Barrier
    now: datetime
    new_id: Callable[[], UUID]
    max_payload_bytes: int
    execute: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """What is written and published when a user is promoted."""

    profile: PromotedProfile
    events: PromotedEvents
    letters: tuple[Letter, ...]


async def promote_user(
    connection: AsyncConnection, project_id: str, user_id: str, extractor: ExtractorIdentity, how: Promoter
) -> PromotionResult:
    """Make the shadow's memory of a user the live one, and publish what is different, in the caller's transaction.

    `extractor` is the one by which live memory of the project goes on. `already` where the user was promoted before,
    `gone` where the shadow has forgotten them. Raises Later where the shadow is not there yet, and Left where it can
    never take this user's place: the caller rolls back.
    """
    user = await lock_user(connection, project_id, user_id, how.now)
    await lock_name(connection, project_id, user_id)
    if await lock_shadow_row(connection, how.generation, project_id, user_id) is None:
        if user.is_new:
            where = (users.c.project_id == project_id, users.c.user_id == user_id)
            await connection.execute(delete(users).where(*where))
        return "gone"
    if user.live_generation == how.generation:
        return "already"
    sides = await read_sides(connection, user, how.generation, with_places=how.barrier.source == "extraction-windows")
    decision = decide(sides, extractor, how.barrier, how.new_id)
    revision = user.revision + 1
    outgoing = Outgoing(project_id, user_id, user.seq, how.now, how.new_id)
    publish(outgoing, sides.live_profile, decision, revision, extractor)
    if any(len(row.payload.encode()) > how.max_payload_bytes for row in outgoing.rows if row.payload is not None):
        raise Left("too-large")
    if how.execute:
        switch = Switch(user, how.generation, how.shadow, revision, outgoing.seq, how.now)
        await append_rows(connection, outgoing.rows)
        await write_switch(connection, switch, decision.profile, decision.events)
    return "promoted"


def decide(sides: Sides, extractor: ExtractorIdentity, barrier: Barrier, new_id: Callable[[], UUID]) -> Decision:
    """What a promotion makes of both memories of a user; raises Later and Left. Pure."""
    check_covered(sides.live_units, sides.shadow_units, sides.done_windows, sides.window_places, barrier)
    if any(other != extractor for other in sides.extractors):
        raise Left("other-extractor")
    return Decision(
        decide_profile(sides.live_profile, sides.shadow_profile, sides.edited, sides.shadow_history, new_id),
        decide_events(sides.live_events, sides.shadow_events, sides.event_edits),
        _letters_to_send(sides),
    )


def publish(
    outgoing: Outgoing,
    live: Sequence[ProfileRow],
    decision: Decision,
    revision: int,
    extractor: ExtractorIdentity,
) -> None:
    """Add the differences, the state and the dead letters to what a transaction publishes."""
    profile, by_hand = decision.profile, {*decision.profile.kept, *(row.profile_id for row in decision.profile.written)}
    before = {row.profile_id: row for row in live}
    after = {row.profile_id: row for row in profile.rows}
    for row in live:
        if row.profile_id not in after:
            outgoing.profile_changed("d", row.entry(), None, revision, change_source((), (), (), extractor))
    for row in profile.rows:
        former = before.get(row.profile_id)
        if former is not None and _says(former) == _says(row):
            continue
        source = change_source((), row.window_ids, row.message_ids, None if row.profile_id in by_hand else extractor)
        outgoing.profile_changed(
            "c" if former is None else "u", None if former is None else former.entry(), row.entry(), revision, source
        )
    for event in decision.events.deleted:
        source = change_source((), (), event.message_ids, extractor)
        outgoing.event_changed("d", event.published(), None, revision, source)
    for event in decision.events.created:
        source = change_source((), event.window_ids, event.message_ids, extractor)
        outgoing.event_changed("c", None, event.published(), revision, source)
    for letter in decision.letters:
        outgoing.kept_letter(letter.letter_id, letter.payload, letter.headers)
    outgoing.profile_state(revision, [row.entry() for row in profile.rows])


def _says(row: ProfileRow) -> tuple[str, str, str]:
    return row.topic, row.sub_topic, row.content


def _letters_to_send(sides: Sides) -> tuple[Letter, ...]:
    """Those of what is parked in the shadow, where live memory has not parked the blob for a like reason."""
    parked = {
        name: {(unit.blob_id, unit.reason == ID_CONFLICT) for unit in side if unit.state == "parked"}
        for name, side in (("live", sides.live_units), ("shadow", sides.shadow_units))
    }
    return tuple(
        letter
        for letter in sides.letters
        if (letter.blob_id, letter.headers.get(header_names.ERROR_REASON) == ID_CONFLICT)
        in parked["shadow"] - parked["live"]
    )
