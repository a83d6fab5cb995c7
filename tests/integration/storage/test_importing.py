"""A user's memory out of one database and into another is the same; twice changes nothing, and nothing is lost."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.export import ExportedUnit, UserExport, parse_export
from storage.applying import ParkedUnit
from storage.audit_orphans import find_orphans
from storage.audit_published import read_changes, read_states
from storage.commands import apply_command
from storage.editing import Edits
from storage.editing_events import EventEdit, change_event
from storage.editing_profiles import change_entry
from storage.editing_users import create_user, replace_fields
from storage.embedding_queue import claim_unembedded
from storage.exporting import read_export
from storage.importing import Importer, ImportRefused, ImportResult, ImportSource, import_user
from storage.partitions import ensure_unit_partitions
from storage.profile_as_of import read_entries_as_of
from storage.reading import look_up_units, read_profile
from storage.tables import OF_A_USER, edit_history, events, ledger, outbox, profiles, units, users
from tests.integration.storage.builders import (
    EXTRACTOR,
    NOW,
    application,
    apply_once,
    change,
    command,
    count_of,
    piece,
    position,
    remember,
    rows_of,
    unit,
    update,
    window,
)

ANN = ("default", "ann")
LATER = NOW + timedelta(hours=1)
IMPORTED = NOW + timedelta(days=1)
MANY_BYTES = 1 << 21


async def tell(engine: AsyncEngine) -> None:
    """A memory with everything: extracted, edited by hand, with a parked unit, kept texts and fields."""
    spoiled = unit("b2", 1, "a riddle")
    memory = update(change("company", None, "Acme"), gists=["joined Acme"], summary="a new job")
    parked = [ParkedUnit(piece(spoiled, 1), "rejected", "", 1)]
    told = window(unit("b1"), spoiled)
    wanted = application(told, memory=memory, applied=[unit("b1"), piece(spoiled, 0)], parked=parked, keep_blobs=True)
    result = await apply_once(engine, wanted)
    assert result.event_id is not None
    (entry,) = await rows_of(engine, profiles, "profile_id")
    async with engine.begin() as connection:
        edits = Edits(connection, LATER, uuid4, MANY_BYTES)
        await change_entry(edits, *ANN, entry[0], "Bolt", None)
    async with engine.begin() as connection:
        edits = Edits(connection, LATER, uuid4, MANY_BYTES)
        await change_event(edits, *ANN, result.event_id, EventEdit(tags=[{"tag": "mood", "value": "proud"}]))
    async with engine.begin() as connection:
        await replace_fields(Edits(connection, LATER, uuid4, MANY_BYTES), *ANN, {"plan": "pro"})


async def export_of(engine: AsyncEngine, project_id: str = "default", user_id: str = "ann") -> UserExport:
    async with engine.connect() as connection:
        found = await read_export(connection, project_id, user_id, NOW)
    assert found is not None
    # As a file brings it.
    return parse_export(orjson.loads(found.line()))


async def take(
    engine: AsyncEngine,
    memory: UserExport,
    *,
    source: ImportSource = "export",
    forgotten: bool = False,
    max_bytes: int = MANY_BYTES,
) -> ImportResult:
    async with engine.begin() as connection:
        return await import_user(connection, memory, Importer(source, IMPORTED, uuid4, max_bytes, forgotten))


async def refusal(engine: AsyncEngine, memory: UserExport, **options: Any) -> str:
    before = await everything(engine)
    with pytest.raises(ImportRefused) as caught:
        await take(engine, memory, **options)
    assert await everything(engine) == before
    return caught.value.reason


async def everything(engine: AsyncEngine) -> list[list[Any]]:
    return [await rows_of(engine, table) for table in (users, *OF_A_USER)]


async def lose(engine: AsyncEngine) -> None:
    """Make it another database, in which nobody has ever been heard of."""
    async with engine.begin() as connection:
        for table in (*OF_A_USER, users, ledger):
            await connection.execute(delete(table))


async def elsewhere(engine: AsyncEngine) -> UserExport:
    """The export of a memory with everything, as another database meets it."""
    await tell(engine)
    memory = await export_of(engine)
    await lose(engine)
    return memory


def known(one: ExportedUnit) -> ExportedUnit:
    """What another installation may know of a unit: not the window, nor where the letter of a parked one lies."""
    position = None if one.state == "parked" else one.position
    return one.model_copy(update={"window_id": None, "position": position})


def without_import(memory: UserExport) -> UserExport:
    return memory.model_copy(update={"edits": tuple(edit for edit in memory.edits if edit.kind != "import")})


async def test_what_was_exported_is_there_again_with_ids_times_history_and_revision(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    assert await take(engine, memory) == "imported"
    again = await export_of(engine)
    assert without_import(again) == memory.model_copy(update={"units": again.units})
    assert list(again.units) == [known(one) for one in memory.units]
    # The memory has all that the test's name promises.
    assert [entry.content for entry in memory.profile] == ["Bolt"]
    assert [(row.op, row.why) for row in memory.history] == [("c", "test"), ("u", "edited")]
    assert [event.tags[0].value for event in memory.events] == ["proud"]
    assert [gist.text for event in memory.events for gist in event.gists] == ["joined Acme"]
    assert [edit.kind for edit in memory.edits] == ["event", "user"]
    assert {(one.blob_id, one.state) for one in memory.units} == {
        ("b1", "applied"),
        ("b2", "applied"),
        ("b2", "parked"),
    }
    assert {one.blob_id for one in memory.blobs} == {"b1", "b2"}
    assert (memory.fields, memory.revision) == ({"plan": "pro"}, 4)


async def test_a_second_import_changes_nothing_also_when_the_user_goes_on(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    await take(engine, memory)
    before = await everything(engine)
    assert await take(engine, memory) == "unchanged"
    assert await everything(engine) == before
    await remember(engine, "b9", "Cargo")
    before = await everything(engine)
    assert await take(engine, memory) == "unchanged"
    assert await everything(engine) == before


async def test_an_export_of_what_is_there_changes_nothing(engine: AsyncEngine) -> None:
    await tell(engine)
    before = await everything(engine)
    assert await take(engine, await export_of(engine)) == "unchanged"
    assert await everything(engine) == before


async def test_its_state_is_published_as_read_and_the_revision_goes_on(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    await take(engine, memory)
    rows = sorted(await rows_of(engine, outbox, "seq", "aggregatetype", "payload"))
    assert [row.aggregatetype for row in rows] == ["profile-updated", "event-updated", "profiles"]
    entry, event, state = (orjson.loads(row.payload) for row in rows)
    assert (entry["op"], entry["after"]["content"]) == ("r", "Bolt")
    assert (event["op"], event["after"]["summary"]) == ("r", "a new job")
    assert state["profile"] == [entry["after"]]
    assert {document["revision"] for document in (entry, event, state)} == {memory.revision}
    await remember(engine, "b9", "Cargo")
    assert (await rows_of(engine, users, "revision"))[0][0] == memory.revision + 1


async def test_what_is_in_memory_is_not_extracted_again_and_what_was_parked_may_be(engine: AsyncEngine) -> None:
    await take(engine, await elsewhere(engine))
    async with engine.connect() as connection:
        book = await look_up_units(connection, *ANN, {"b1", "b2"})
    assert book.outcome(unit("b1", 77)) == "applied"
    assert book.outcome(unit("b2", 78, "a riddle")) == "parked"


async def test_a_window_of_another_installation_is_not_taken_for_one_of_this(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    await take(engine, memory)
    assert all(one.window_id for one in memory.units)
    assert {row[0] for row in await rows_of(engine, units, "window_id")} == {None}
    async with engine.connect() as connection:
        assert [kind.kind async for kind in find_orphans(connection, 5) if kind.is_wrong] == []


async def test_a_window_that_this_installation_has_applied_keeps_its_units(engine: AsyncEngine) -> None:
    await tell(engine)
    memory = await export_of(engine)
    async with engine.begin() as connection:
        for table in (*OF_A_USER, users):
            await connection.execute(delete(table))
    await take(engine, memory)
    assert (await export_of(engine)).units == memory.units


async def test_units_of_past_months_lie_in_partitions_of_their_own(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    async with engine.begin() as connection:
        await ensure_unit_partitions(connection, NOW)
    await take(engine, memory)
    async with engine.connect() as connection:
        assert [kind.kind async for kind in find_orphans(connection, 5)] == []


async def test_the_audit_asks_for_no_change_that_came_with_an_import_and_for_its_state(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    await take(engine, memory)
    await remember(engine, "b9", "Cargo")
    async with engine.connect() as connection:
        there = (await read_changes(connection, [ANN]))[ANN]
        state = (await read_states(connection, [ANN]))[ANN]
    assert there.imported_revision == memory.revision == 4
    assert {key.revision for key, _ in there.recorded if key.revision > there.imported_revision} == {5}
    assert state.state_revision == 5
    await lose(engine)
    await take(engine, memory.model_copy(update={"history": (), "edits": ()}))
    async with engine.connect() as connection:
        assert (await read_states(connection, [ANN]))[ANN].state_revision == memory.revision


async def test_a_profile_as_it_was_before_the_import_is_what_it_was_there(engine: AsyncEngine) -> None:
    await take(engine, await elsewhere(engine))
    async with engine.connect() as connection:
        early = await read_entries_as_of(connection, *ANN, NOW)
        late = await read_entries_as_of(connection, *ANN, IMPORTED)
    assert [entry.content for entry in early] == ["Acme"]
    assert [entry.content for entry in late] == ["Bolt"]


async def test_embeddings_are_left_to_the_queue(engine: AsyncEngine) -> None:
    await take(engine, await elsewhere(engine))
    async with engine.begin() as connection:
        claimed = await claim_unembedded(connection, IMPORTED, 10, 60.0)
    assert sorted((row.kind, row.text) for row in claimed) == [
        ("event", "a new job"),
        ("gist", "joined Acme"),
        ("profile", "work company: Bolt"),
    ]


async def test_a_copy_beside_the_original_has_ids_of_its_own_and_twice_changes_nothing(engine: AsyncEngine) -> None:
    await tell(engine)
    original = await export_of(engine)
    copy = original.model_copy(update={"project_id": "shop"})
    assert await take(engine, copy) == "imported"
    made = await export_of(engine, "shop")
    assert [entry.content for entry in made.profile] == ["Bolt"]
    assert {row.profile_id for row in made.history} == {entry.id for entry in made.profile}
    assert {entry.id for entry in made.profile}.isdisjoint(entry.id for entry in original.profile)
    assert {edit.event_id for edit in made.edits if edit.kind == "event"} == {event.id for event in made.events}
    assert await export_of(engine) == original
    before = await everything(engine)
    assert await take(engine, copy) == "unchanged"
    assert await everything(engine) == before


async def test_a_user_of_whom_something_else_is_remembered_stays_as_they_are(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    await remember(engine, "b9", "Cargo")
    assert await refusal(engine, memory) == "holds-memory"


async def test_a_source_that_has_changed_since_its_import_is_said_to_have(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    await take(engine, memory, source="memobase")
    changed = memory.model_copy(update={"profile": ()})
    assert await refusal(engine, changed, source="memobase") == "changed-since"
    assert await refusal(engine, changed) == "holds-memory"


async def test_a_user_who_was_only_named_takes_a_memory_with_the_same_fields(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    async with engine.begin() as connection:
        await create_user(Edits(connection, LATER, uuid4, MANY_BYTES), *ANN, {"plan": "free"})
    assert await refusal(engine, memory) == "other-fields"
    assert await take(engine, memory.model_copy(update={"fields": {"plan": "free"}})) == "imported"


async def test_a_forgotten_user_comes_back_only_when_asked_for_and_goes_on_counting(engine: AsyncEngine) -> None:
    await tell(engine)
    memory = await export_of(engine)
    async with engine.begin() as connection:
        await apply_command(connection, command("forget-user"), position(200), LATER, uuid4)
    assert await refusal(engine, memory) == "forgotten"
    assert await take(engine, memory, forgotten=True) == "imported"
    again = await export_of(engine)
    assert again.revision > memory.revision
    assert again.profile == memory.profile
    assert await take(engine, memory) == "unchanged"


async def test_what_no_record_could_hold_is_refused(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    assert await refusal(engine, memory, max_bytes=200) == "too-large"


async def test_text_that_postgres_cannot_keep_is_kept_without_what_it_refuses(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    document = orjson.loads(memory.line())
    document["profile"][0]["content"] = "Bo\0lt"
    document["fields"] = {"na\0me": "An\0n"}
    document["blobs"][0]["content"]["fields"] = {"raw": "a\0b"}
    await take(engine, parse_export(document))
    again = await export_of(engine)
    assert again.profile[0].content == "Bolt"
    assert again.fields == {"name": "Ann"}
    assert again.blobs[0].content["fields"] == {"raw": "a\0b"}


async def test_extraction_goes_on_where_an_import_came_in_between(engine: AsyncEngine) -> None:
    memory = await elsewhere(engine)
    await take(engine, memory)
    async with engine.connect() as connection:
        profile = await read_profile(connection, *ANN)
    slot = profile.slot("work", "company")
    assert slot is not None
    assert (profile.revision, slot.content) == (memory.revision, "Bolt")
    (extractor,) = {row.extractor["name"] for row in memory.history if row.extractor}
    assert extractor == EXTRACTOR.name


async def test_of_a_user_nobody_knows_there_is_no_export(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await read_export(connection, "default", "nobody", NOW) is None
    assert await count_of(engine, events) == await count_of(engine, edit_history) == 0
