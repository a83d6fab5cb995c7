"""Promoting a shadow's memory of a user: in one transaction, with hand edits kept, and nothing lost or said twice."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from cli.audit_published import missing_changes, unknown_changes
from schemas.memory import ExtractorIdentity, MemoryUpdate, SlotChange
from schemas.windows import Unit, Window
from storage.applying import ParkedUnit
from storage.audit_applied import TimeRange as Times
from storage.audit_applied import applied_windows, cited_twice, several_applied
from storage.audit_orphans import find_orphans
from storage.audit_published import read_changes, read_states
from storage.blob_erasure import erase_blob
from storage.browsing import EventRow, read_events, read_history, read_profile_entries
from storage.editing import Edits
from storage.editing_events import EventEdit, EventText, change_event, remove_event
from storage.editing_profiles import add_entry, change_entry, remove_entry
from storage.exporting import read_export
from storage.profile_as_of import read_entries_as_of
from storage.profile_writing import ProfileRow
from storage.promotion import Promoter, PromotionResult, promote_user
from storage.promotion_coverage import Barrier, Later, Left
from storage.promotion_reading import count_users
from storage.reading import look_up_units, read_profile
from storage.shadow_tables import shadow_letters, shadow_users, shadow_windows, shadows
from storage.shadows import lock_shadow_user
from storage.tables import (
    edit_history,
    events,
    gists,
    ledger,
    outbox,
    profile_history,
    profiles,
    units,
    users,
)
from tests.integration.storage.builders import (
    EXTRACTOR,
    NOW,
    application,
    apply_once,
    change,
    count_of,
    piece,
    rows_of,
    unit,
    window,
)
from tests.integration.storage.builders import update as memory_of

ANN = ("default", "ann")
OTHER = replace(EXTRACTOR, version="2")
EDITED_AT = NOW + timedelta(minutes=5)
PROMOTED_AT = NOW + timedelta(minutes=10)
BARRIER = Barrier("chat-messages", "chat-messages", {0: 0}, None, {0: 1000})
FIRST, SECOND, THIRD = unit("b1", 1), unit("b2", 2), unit("b3", 3)


async def new_shadow(engine: AsyncEngine, name: str = "better") -> int:
    row: dict[str, Any] = {
        "name": name,
        "topic_prefix": "",
        "source": "chat-messages",
        "begin_offsets": {"0": 0},
        "state": "running",
    }
    row |= {"extractor": asdict(OTHER), "created_at": NOW}
    async with engine.begin() as connection:
        return int(await connection.scalar(insert(shadows).values(row).returning(shadows.c.generation)) or 0)


async def tell(
    engine: AsyncEngine,
    of: Window,
    memory: MemoryUpdate | None = None,
    shadow: int | None = None,
    extractor: ExtractorIdentity | None = None,
    **more: Any,
) -> None:
    """Apply a window to live memory, or to a shadow, on whatever revision is there."""
    async with engine.connect() as connection:
        profile = await read_profile(connection, of.project_id, of.user_id, shadow)
    wanted = application(of, memory=memory, read_revision=profile.revision, **more)
    by = extractor or (EXTRACTOR if shadow is None else OTHER)
    at = NOW if shadow is None else NOW + timedelta(minutes=1)
    await apply_once(engine, replace(wanted, shadow=shadow, extractor=by), at)


async def promote(
    engine: AsyncEngine, generation: int, user: tuple[str, str] = ANN, at: datetime = PROMOTED_AT, **how: Any
) -> PromotionResult:
    values: dict[str, Any] = {
        "shadow": "better",
        "generation": generation,
        "barrier": BARRIER,
        "now": at,
        "new_id": uuid4,
        "max_payload_bytes": 1 << 20,
    }
    promoter = Promoter(**(values | how))
    async with engine.connect() as connection:
        result = await promote_user(connection, *user, OTHER, promoter)
        if promoter.execute:
            await connection.commit()
        return result


async def profile_of(engine: AsyncEngine) -> list[ProfileRow]:
    async with engine.connect() as connection:
        return await read_profile_entries(connection, *ANN)


async def contents(engine: AsyncEngine) -> dict[str, tuple[str, UUID]]:
    return {f"{one.topic}/{one.sub_topic}": (one.content, one.profile_id) for one in await profile_of(engine)}


async def events_of(engine: AsyncEngine) -> list[EventRow]:
    async with engine.connect() as connection:
        return await read_events(connection, *ANN, None)


async def as_of(engine: AsyncEngine, moment: datetime, clock: Any = "recorded") -> dict[str, str]:
    async with engine.connect() as connection:
        entries = await read_entries_as_of(connection, *ANN, moment, clock)
    return {f"{one.topic}/{one.sub_topic}": one.content for one in entries}


async def published(engine: AsyncEngine, kind: str, at: datetime = PROMOTED_AT) -> list[dict[str, Any]]:
    query = select(outbox.c.payload).where(outbox.c.aggregatetype == kind, outbox.c.created_at == at)
    async with engine.connect() as connection:
        return [orjson.loads(row) for row in (await connection.scalars(query.order_by(outbox.c.seq))).all()]


def edits_in(connection: AsyncConnection, at: datetime = EDITED_AT) -> Edits:
    return Edits(connection, at, uuid4, 1 << 20)


def slots(*changes: SlotChange) -> MemoryUpdate:
    """Changes of a profile without an event."""
    return MemoryUpdate(changes)


def joined(held: str, added: str) -> str:
    return f"{held}; {added}"


async def orphans(connection: AsyncConnection) -> list[Any]:
    return [found for found in await collect(find_orphans(connection, 10)) if found.is_wrong]


async def collect(found: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in found]


async def everything(engine: AsyncEngine) -> dict[str, list[Any]]:
    live = (profiles, profile_history, events, gists, units, edit_history, ledger, outbox, users)
    tables = (*live, shadow_users, shadow_windows, shadow_letters)
    return {table.name: await rows_of(engine, table) for table in tables}


async def two_memories(engine: AsyncEngine) -> int:
    """Live memory of two windows, and a shadow that has read them as one and another one as well."""
    first = memory_of(change("company", None, "Acme"), change("title", None, "clerk"), gists=["joined"], summary="job")
    await tell(engine, window(FIRST), first)
    second = slots(change("city", None, "Oslo", topic="home", message_id="b2/0"))
    await tell(engine, window(SECOND), second)
    generation = await new_shadow(engine)
    memory = memory_of(
        change("company", None, "ACME Inc"), change("city", None, "Oslo", topic="home"), gists=["joined"], summary="job"
    )
    await tell(engine, window(FIRST, SECOND), memory, generation)
    third = slots(change("sport", None, "rowing", topic="hobby", message_id="b3/0"))
    await tell(engine, window(THIRD), third, generation)
    return generation


async def test_the_shadow_takes_the_place_of_live_memory(engine: AsyncEngine) -> None:
    generation = await two_memories(engine)
    before = await contents(engine)
    (event,) = await events_of(engine)
    assert await promote(engine, generation) == "promoted"

    after = await contents(engine)
    assert {slot: content for slot, (content, _) in after.items()} == {
        "hobby/sport": "rowing",
        "home/city": "Oslo",
        "work/company": "ACME Inc",
    }
    assert after["home/city"] == before["home/city"]
    assert after["work/company"][1] == before["work/company"][1]
    (same,) = await events_of(engine)
    assert same.published() == event.published()
    assert same.extractor == asdict(OTHER)
    assert same.window_ids == (window(FIRST, SECOND).window_id,)
    for table in (profiles, events, gists, units):
        assert {row.generation for row in await rows_of(engine, table, "generation")} == {generation}
    assert await rows_of(engine, users, "live_generation", "revision", "profile_count", "event_count") == [
        (generation, 3, 3, 1)
    ]
    assert await rows_of(engine, shadow_users, "promoted_at") == [(PROMOTED_AT,)]


async def test_only_what_is_different_is_published_and_then_the_state(engine: AsyncEngine) -> None:
    generation = await two_memories(engine)
    await promote(engine, generation)
    changes = await published(engine, "profile-updated")
    assert [
        (one["op"], (one["before"] or {}).get("content"), (one["after"] or {}).get("content")) for one in changes
    ] == [
        ("d", "clerk", None),
        ("c", None, "rowing"),
        ("u", "Acme", "ACME Inc"),
    ]
    assert {one["revision"] for one in changes} == {3}
    assert {one["source"]["extractor"]["version"] for one in changes} == {"2"}
    assert await published(engine, "event-updated") == []
    (state,) = await published(engine, "profiles")
    assert (state["revision"], [entry["content"] for entry in state["profile"]]) == (3, ["rowing", "Oslo", "ACME Inc"])
    async with engine.connect() as connection:
        kinds = (await connection.scalars(select(outbox.c.aggregatetype).order_by(outbox.c.seq))).all()
        sequence = (await connection.scalars(select(outbox.c.seq).order_by(outbox.c.seq))).all()
    assert kinds[-1] == "profiles"
    assert list(sequence) == list(range(1, len(kinds) + 1))
    assert await rows_of(engine, users, "seq") == [(len(kinds),)]


async def test_events_that_are_different_are_published_as_gone_and_come(engine: AsyncEngine) -> None:
    await tell(engine, window(FIRST), memory_of(gists=["joined Acme"], summary="job"))
    generation = await new_shadow(engine)
    await tell(engine, window(FIRST), memory_of(gists=["joined ACME"], summary="job"), generation)
    await promote(engine, generation)
    changes = await published(engine, "event-updated")
    said = [(one["op"], (one["after"] or one["before"])["gists"][0]["text"]) for one in changes]
    assert said == [("d", "joined Acme"), ("c", "joined ACME")]
    assert await rows_of(engine, gists, "text") == [("joined ACME",)]


async def test_the_audit_has_nothing_to_say_afterwards(engine: AsyncEngine) -> None:
    generation = await two_memories(engine)
    async with engine.begin() as connection:
        await add_entry(edits_in(connection), *ANN, ("hobby", "game"), "chess", joined)
    told = await told_of(engine)
    await promote(engine, generation)
    told += await told_of(engine, PROMOTED_AT)
    async with engine.connect() as connection:
        assert await orphans(connection) == []
        assert await collect(several_applied(connection, None)) == []
        assert await cited_twice(connection, Times(), 10) == (0, [])
        order = [one.window_id for one in await collect(applied_windows(connection, None))]
        assert sorted(order) == sorted([window(FIRST, SECOND).window_id, window(THIRD).window_id])
        state = (await read_states(connection, [ANN]))[ANN]
        changes = (await read_changes(connection, [ANN]))[ANN]
    assert (state.state_revision, state.revision) == (changes.imported_revision, changes.revision) == (4, 4)
    assert missing_changes(changes, {key for key, _ in told}, lambda _key, _at: True) == []
    assert list(unknown_changes(changes, told, lambda _: True)) == []


async def told_of(engine: AsyncEngine, at: datetime | None = None) -> list[Any]:
    """The changes that wait in the outbox, as if they were published, with times in ms."""
    async with engine.connect() as connection:
        pending = (await read_changes(connection, [ANN]))[ANN].pending
    return [(key, 0) for key in pending if at is None or key.revision > 3]


async def test_edits_by_hand_stay_with_their_ids(engine: AsyncEngine) -> None:
    generation = await two_memories(engine)
    before = await contents(engine)
    async with engine.begin() as connection:
        await change_entry(edits_in(connection), *ANN, before["work/company"][1], "ACME Corporation", None)
    async with engine.begin() as connection:
        await remove_entry(edits_in(connection), *ANN, before["home/city"][1])
    async with engine.begin() as connection:
        game = await add_entry(edits_in(connection), *ANN, ("hobby", "game"), "chess", joined)
    await promote(engine, generation)
    after = await contents(engine)
    assert after["work/company"] == ("ACME Corporation", before["work/company"][1])
    assert after["hobby/game"] == ("chess", game)
    assert {slot: content for slot, (content, _) in after.items()} == {
        "hobby/game": "chess",
        "hobby/sport": "rowing",
        "work/company": "ACME Corporation",
    }
    changes = await published(engine, "profile-updated")
    assert [(one["op"], (one["after"] or one["before"])["content"]) for one in changes] == [
        ("d", "clerk"),
        ("c", "rowing"),
    ]
    # So that extraction does not write over them by what was said before.
    async with engine.connect() as connection:
        corrections = (await read_profile(connection, *ANN)).corrections
    assert {(one.topic, one.sub_topic): one.corrected_at for one in corrections} == {
        ("home", "city"): EDITED_AT,
        ("work", "company"): EDITED_AT,
    }
    assert await as_of(engine, PROMOTED_AT) == {slot: content for slot, (content, _) in after.items()}


async def test_what_was_said_after_an_edit_stands_and_the_history_plays_back_to_it(engine: AsyncEngine) -> None:
    await tell(engine, window(FIRST), slots(change("company", None, "Acme")))
    ((_, company),) = (await contents(engine)).values()
    early = NOW - timedelta(hours=1)
    async with engine.begin() as connection:
        await change_entry(edits_in(connection, early), *ANN, company, "ACME Corporation", None)
    generation = await new_shadow(engine)
    old = replace(change("company", None, "Acme"), occurred_at=early - timedelta(hours=1))
    await tell(engine, window(FIRST), slots(old), generation)
    await tell(engine, window(SECOND), slots(change("company", "Acme", "Globex", message_id="b2/0")), generation)
    await promote(engine, generation)
    assert await contents(engine) == {"work/company": ("Globex", company)}
    async with engine.connect() as connection:
        told = [(row.after, row.why, row.profile_id) for row in await read_history(connection, *ANN)]
    assert told == [("Globex", "test", company), ("ACME Corporation", "edited", company), ("Acme", "test", company)]
    assert await as_of(engine, early, "occurred") == {"work/company": "ACME Corporation"}
    assert await as_of(engine, NOW, "occurred") == {"work/company": "Globex"}


async def test_words_that_were_moved_by_hand_go_with_their_blob_after_a_promotion(engine: AsyncEngine) -> None:
    await tell(engine, window(FIRST), slots(change("company", None, "the secret")))
    ((_, company),) = (await contents(engine)).values()
    async with engine.begin() as connection:
        await change_entry(edits_in(connection), *ANN, company, "the secret", ("past", "company"))
    generation = await new_shadow(engine)
    await tell(engine, window(FIRST), MemoryUpdate(), generation)
    await promote(engine, generation)
    assert await contents(engine) == {"past/company": ("the secret", company)}
    async with engine.begin() as connection:
        await erase_blob(connection, *ANN, "b1", PROMOTED_AT, uuid4)
    assert await contents(engine) == {}


async def test_events_that_were_edited_by_hand_stay_and_removed_ones_stay_away(engine: AsyncEngine) -> None:
    await tell(engine, window(FIRST), memory_of(change("company", None, "Acme"), gists=["joined"], summary="job"))
    second = memory_of(change("city", None, "Oslo", message_id="b2/0"), summary="a move")
    await tell(engine, window(SECOND), second)
    move, job = await events_of(engine)
    if job.summary != "job":
        move, job = job, move
    async with engine.begin() as connection:
        await change_event(edits_in(connection), *ANN, job.event_id, EventEdit(EventText("a new job", ("at Acme",))))
    async with engine.begin() as connection:
        await remove_event(edits_in(connection), *ANN, move.event_id)
    generation = await new_shadow(engine)
    await tell(engine, window(FIRST), memory_of(change("company", None, "Acme"), summary="work"), generation)
    await tell(engine, window(SECOND), second, generation)
    third = memory_of(change("sport", None, "rowing", message_id="b3/0"), summary="sports")
    await tell(engine, window(THIRD), third, generation)
    await promote(engine, generation)

    found = {event.summary: event for event in await events_of(engine)}
    assert set(found) == {"a new job", "sports"}
    assert found["a new job"].event_id == job.event_id
    assert [gist.text for gist in found["a new job"].gists] == ["at Acme"]
    assert [one["after"]["summary"] for one in await published(engine, "event-updated")] == ["sports"]
    assert await rows_of(engine, users, "event_count") == [(2,)]
    # The next promotion finds these edits again.
    following = await new_shadow(engine, "best")
    for of in (FIRST, SECOND, THIRD):
        await tell(
            engine, window(of), memory_of(change(of.blob_id, None, "x", message_id=f"{of.blob_id}/0")), following
        )
    await promote(engine, following, at=PROMOTED_AT + timedelta(hours=1), shadow="best")
    assert [event.summary for event in await events_of(engine) if event.summary] == ["a new job"]


async def test_what_was_erased_stays_erased_and_a_conflicting_blob_stays_known(engine: AsyncEngine) -> None:
    await tell(engine, window(FIRST))
    other = unit("b1", 9, "something else")
    conflict = [ParkedUnit(other, "id-conflict", "", 1)]
    await tell(engine, window(other), applied=[], parked=conflict)
    async with engine.begin() as connection:
        await erase_blob(connection, *ANN, "b2", NOW, uuid4)
    generation = await new_shadow(engine)
    await tell(engine, window(FIRST), shadow=generation)
    await promote(engine, generation)
    assert await rows_of(engine, units, "generation", "blob_id", "state", "reason") == [
        (generation, "b1", "applied", None),
        (generation, "b1", "parked", "id-conflict"),
        (generation, "b2", "erased", None),
    ]
    async with engine.connect() as connection:
        book = await look_up_units(connection, *ANN, {"b1", "b2"})
        assert await orphans(connection) == []
    assert (book.outcome(FIRST), book.outcome(SECOND), book.outcome(other)) == ("applied", "erased", "conflict")


async def test_what_was_parked_and_the_shadow_has_applied_is_applied(engine: AsyncEngine) -> None:
    await tell(engine, window(FIRST), applied=[], parked=[ParkedUnit(FIRST, "rejected", "", 1)])
    generation = await new_shadow(engine)
    await tell(engine, window(FIRST), slots(change("company", None, "Acme")), generation)
    await promote(engine, generation)
    assert await rows_of(engine, units, "state") == [("applied",)]
    assert await published(engine, "dead-letters") == []


async def test_a_dead_letter_is_sent_for_what_only_the_shadow_has_parked(engine: AsyncEngine) -> None:
    whole = [FIRST, SECOND]
    await tell(engine, window(*whole), applied=[FIRST], parked=[ParkedUnit(SECOND, "rejected", "", 1)])
    generation = await new_shadow(engine)
    await tell(engine, window(*whole), shadow=generation, applied=[], parked=parked_of(whole))
    await promote(engine, generation)
    (letter,) = await published(engine, "dead-letters")
    assert letter["id"] == "b1"
    async with engine.connect() as connection:
        query = select(outbox).where(outbox.c.aggregatetype == "dead-letters", outbox.c.created_at == PROMOTED_AT)
        row = (await connection.execute(query)).one()
    assert (row.aggregateid, row.headers["__memostream.errors.reason"]) == ("ann", "rejected")
    assert await count_of(engine, shadow_letters) == 0


def parked_of(wanted: Sequence[Unit]) -> list[ParkedUnit]:
    return [ParkedUnit(item, "rejected", "", 1) for item in wanted]


async def test_the_windows_of_the_shadow_come_to_the_ledger(engine: AsyncEngine) -> None:
    generation = await two_memories(engine)
    await promote(engine, generation)
    known = {row.ledger_id for row in await rows_of(engine, ledger, "ledger_id")}
    assert known == {window(*of).window_id for of in ([FIRST], [SECOND], [FIRST, SECOND], [THIRD])}
    assert await count_of(engine, shadow_windows) == 0


async def test_memory_is_known_as_it_was_before_the_promotion(engine: AsyncEngine) -> None:
    generation = await two_memories(engine)
    former = {"home/city": "Oslo", "work/company": "Acme", "work/title": "clerk"}
    await promote(engine, generation)
    new = {"hobby/sport": "rowing", "home/city": "Oslo", "work/company": "ACME Inc"}
    moment = timedelta(microseconds=1)
    assert await as_of(engine, NOW - moment) == {}
    assert await as_of(engine, PROMOTED_AT - moment) == former
    assert await as_of(engine, PROMOTED_AT) == new
    assert await as_of(engine, NOW, "occurred") == new
    following = await new_shadow(engine, "best")
    for of in (FIRST, SECOND, THIRD):
        await tell(engine, window(of), shadow=following)
    again = PROMOTED_AT + timedelta(hours=1)
    await promote(engine, following, at=again, shadow="best")
    assert [await as_of(engine, at) for at in (again, again - moment, PROMOTED_AT - moment)] == [{}, new, former]
    async with engine.connect() as connection:
        exported = await read_export(connection, *ANN, again)
    assert exported is not None
    assert [edit.kind for edit in exported.edits] == []


async def test_a_promotion_that_is_cut_short_has_changed_nothing_and_is_done_again(engine: AsyncEngine) -> None:
    generation = await two_memories(engine)
    before = await everything(engine)
    async with engine.connect() as connection:
        how = Promoter("better", generation, BARRIER, PROMOTED_AT, uuid4, 1 << 20)
        assert await promote_user(connection, *ANN, OTHER, how) == "promoted"
    assert await everything(engine) == before
    assert await promote(engine, generation, execute=False) == "promoted"
    assert await everything(engine) == before
    assert await promote(engine, generation) == "promoted"
    done = await everything(engine)
    assert await promote(engine, generation) == "already"
    assert await everything(engine) == done


async def test_nobody_is_promoted_before_the_shadow_has_read_what_they_rest_on(engine: AsyncEngine) -> None:
    generation = await two_memories(engine)
    late = unit("b4", 1000)
    await tell(engine, window(late))
    before = await everything(engine)
    with pytest.raises(Later):
        await promote(engine, generation)
    behind = replace(BARRIER, done={0: 1001})
    with pytest.raises(Left, match="missing"):
        await promote(engine, generation, barrier=behind)
    assert await everything(engine) == before
    await tell(engine, window(piece(late, 0), piece(late, 1)), shadow=generation)
    assert await promote(engine, generation, barrier=behind) == "promoted"


async def test_of_windows_it_is_asked_where_these_lie(engine: AsyncEngine) -> None:
    await tell(engine, window(FIRST))
    generation = await new_shadow(engine)
    await tell(engine, window(SECOND), shadow=generation)
    windows = Barrier("extraction-windows", "extraction-windows", {0: 0}, None, {0: 100})
    with pytest.raises(Later):
        await promote(engine, generation, barrier=windows)
    with pytest.raises(Left, match="missing"):
        await promote(engine, generation, barrier=replace(windows, done={0: 101}))


async def test_a_user_of_another_extractor_or_of_too_much_memory_is_left(engine: AsyncEngine) -> None:
    generation = await new_shadow(engine)
    await tell(engine, window(FIRST), slots(change("company", None, "x" * 2000)), generation)
    with pytest.raises(Left, match="too-large"):
        await promote(engine, generation, max_payload_bytes=1000)
    more = slots(change("city", None, "Oslo", message_id="b2/0"))
    await tell(engine, window(SECOND), more, generation, extractor=replace(OTHER, prompt_hash="other"))
    with pytest.raises(Left, match="other-extractor"):
        await promote(engine, generation)


async def test_a_user_whom_only_the_shadow_knows_comes_to_live_memory(engine: AsyncEngine) -> None:
    generation = await new_shadow(engine)
    await tell(engine, window(FIRST), slots(change("company", None, "Acme")), generation)
    assert await promote(engine, generation) == "promoted"
    assert await rows_of(engine, users, "live_generation", "revision", "profile_count") == [(generation, 1, 1)]
    assert await promote(engine, generation, ("default", "bob")) == "gone"
    assert await rows_of(engine, users, "user_id") == [("ann",)]


async def test_what_comes_after_the_promotion_comes_to_the_promoted_memory_alone(engine: AsyncEngine) -> None:
    generation = await two_memories(engine)
    await promote(engine, generation)
    async with engine.begin() as connection:
        assert await lock_shadow_user(connection, generation, *ANN) is None
    await tell(engine, window(unit("b5", 5)), slots(change("company", "ACME Inc", "Globex", message_id="b5/0")))
    assert (await contents(engine))["work/company"][0] == "Globex"
    assert await rows_of(engine, users, "revision", "profile_count") == [(4, 3)]
    async with engine.connect() as connection:
        changes = (await read_changes(connection, [ANN]))[ANN]
    assert [key.revision for key in missing_changes_of(changes)] == []


def missing_changes_of(changes: Any) -> list[Any]:
    return missing_changes(changes, set(), lambda _key, _at: True)


async def test_the_open_users_are_counted(engine: AsyncEngine) -> None:
    generation = await new_shadow(engine)
    for project_id, user_id in (("default", "ann"), ("default", "bob"), ("shop", "ann")):
        await tell(engine, window(FIRST, project_id=project_id, user_id=user_id), shadow=generation)
    async with engine.begin() as connection:
        promoted = update(shadow_users).where(shadow_users.c.user_id == "bob").values(promoted_at=datetime.now(UTC))
        await connection.execute(promoted)
    async with engine.connect() as connection:
        assert await count_users(connection, generation) == (2, 1)
        assert await count_users(connection, generation, "default", "bob") == (0, 1)
