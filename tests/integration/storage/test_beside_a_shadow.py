"""Whoever reads live memory does not see a shadow beside it, and what is deleted goes from the shadow, too."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import numpy as np
from sqlalchemy import delete, insert, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.budgets import BudgetLimits, Spent, day_of
from schemas.memory import Usage
from storage.applying import ParkedUnit
from storage.audit_applied import TimeRange, applied_windows, cited_twice, several_applied
from storage.audit_orphans import find_orphans
from storage.audit_published import read_changes, read_states
from storage.audit_waiting import parked_units
from storage.auditing import units_of_blobs
from storage.blob_erasure import erase_blob
from storage.blob_listing import count_recorded, list_recorded
from storage.browsing import read_events, read_history, read_profile_entries
from storage.commands import apply_command
from storage.dropping import drop_parked
from storage.exporting import read_export
from storage.importing import Importer, import_user
from storage.profile_as_of import read_entries_as_of
from storage.project_usage import read_billing, read_days
from storage.reading import look_up_units, read_profile
from storage.recall import read_entries, read_recent_gists, read_similar_gists
from storage.search import Search, search
from storage.shadow_tables import shadow_letters, shadow_users, shadow_windows, shadows
from storage.snapshot import Snapshot, publish_user
from storage.tables import edit_history, events, gists, outbox, profile_history, profiles, units, usage, users
from storage.usage import Attempt, ModelCalls, UsageFilter, read_spent, record_usage, summarise_usage, total_usage
from storage.usage_pruning import prune
from storage.user_listing import list_users
from storage.window_results import read_window_results
from tests.integration.storage.builders import (
    DIMENSION,
    NOW,
    application,
    apply_once,
    change,
    command,
    count_of,
    position,
    remember,
    rows_of,
    unit,
    window,
)
from tests.integration.storage.builders import (
    update as memory_of,
)
from tests.integration.storage.shadow_rows import apply_in_shadow, seed_shadow

LATER = NOW + timedelta(minutes=5)
SECRET = "the secret word"
ANN = ("default", "ann")
FIRST, SECOND = unit("b1", 1), unit("b2", 2)
TOGETHER = window(FIRST, SECOND)


async def tell(engine: AsyncEngine) -> None:
    """A message that is in memory, and one that was parked."""
    memory = memory_of(change("company", None, "Acme"), gists=["joined Acme"], summary="a new job")
    parked = [ParkedUnit(SECOND, "rejected", "", 1)]
    await apply_once(engine, application(TOGETHER, memory=memory, applied=[FIRST], parked=parked))


async def tell_shadow(engine: AsyncEngine, user_id: str = "ann") -> int:
    """The same windows otherwise, and another one."""
    generation = await seed_shadow(engine)
    memory = memory_of(change("company", None, "ACME Corporation"), gists=["she joined"], summary="work")
    named = TOGETHER.model_copy(update={"user_id": user_id})
    await apply_in_shadow(engine, generation, application(named, memory=memory))
    more = memory_of(change("city", None, "Oslo", message_id="b3/0"), gists=["a move"], summary="home")
    parked = [ParkedUnit(unit("b4", 4), "rejected", "", 1)]
    other = window(unit("b3", 3), unit("b4", 4), user_id=user_id)
    await apply_in_shadow(engine, generation, application(other, memory=more, applied=[unit("b3", 3)], parked=parked))
    return generation


async def all_of(rows: AsyncIterator[Any]) -> list[Any]:
    return [row async for row in rows]


async def orphans(connection: AsyncConnection) -> dict[str, int]:
    """How many there are of each kind; months' partitions are not made here."""
    return {found.kind: found.count for found in await all_of(find_orphans(connection, 10)) if found.is_wrong}


async def live_readings(connection: AsyncConnection) -> dict[str, Any]:
    """What every reader of live memory says of Ann."""
    blob_ids = {f"b{number}" for number in range(5)}
    vector = np.zeros(DIMENSION, dtype=np.float32)
    vector[0] = 1.0
    period: dict[str, Any] = {"since": NOW - timedelta(days=1), "until": LATER, "limit": 10}
    question = Search("hybrid", "joined acme oslo move work", vector, 10, LATER)
    return {
        "profile": await read_profile(connection, *ANN),
        "entries": await read_profile_entries(connection, *ANN),
        "history": await read_history(connection, *ANN),
        "events": await read_events(connection, *ANN, None),
        "units": await look_up_units(connection, *ANN, blob_ids),
        "units of blobs": await units_of_blobs(connection, {(*ANN, blob_id) for blob_id in blob_ids}),
        "blobs": await list_recorded(connection, *ANN, "chat", limit=10),
        "blob count": await count_recorded(connection, *ANN, "chat"),
        "export": await read_export(connection, *ANN, LATER),
        "results": await read_window_results(connection, *ANN, [TOGETHER.window_id, window(unit("b3")).window_id]),
        "users": await list_users(
            connection, "default", search="", order_by="updated_at", descending=True, limit=10, offset=0
        ),
        "prompt": await read_entries(connection, *ANN),
        "recent": await read_recent_gists(connection, *ANN, **period),
        "similar": await read_similar_gists(connection, *ANN, vector, threshold=-1.0, **period),
        "found": await search(connection, *ANN, question),
        "as of": await read_entries_as_of(connection, *ANN, LATER),
        "several applied": await all_of(several_applied(connection, None)),
        "cited twice": await cited_twice(connection, TimeRange(), 10),
        "applied windows": await all_of(applied_windows(connection, None)),
        "parked": await all_of(parked_units(connection, None)),
        "states": await read_states(connection, [ANN]),
        "changes": await read_changes(connection, [ANN]),
        "spent": await read_spent(connection, "default", None, *day_of(NOW)),
        "days": await read_days(connection, "default", 2, NOW),
        "billing": await read_billing(connection, "default", BudgetLimits(project_tokens_a_day=1000), NOW),
        "orphans": await orphans(connection),
    }


async def spend(engine: AsyncEngine, generation: int | None, cost: str, tokens: int = 100) -> None:
    calls = ModelCalls("chat", Usage(completions=1, prompt_tokens=tokens), Decimal(cost))
    of_window = (uuid4(), *ANN, (TOGETHER.window_id,), (position(1),), "applied", (calls,), NOW)
    async with engine.begin() as connection:
        await record_usage(connection, Attempt(*of_window, shadow=generation))  # type: ignore[arg-type]


async def text_in(engine: AsyncEngine, words: str) -> list[str]:
    tables = (profiles, profile_history, edit_history, events, gists, shadow_letters)
    found = []
    async with engine.connect() as connection:
        for table in tables:
            query = text(f"SELECT count(*) FROM {table.name} AS t WHERE t::text LIKE :words")
            if await connection.scalar(query, {"words": f"%{words}%"}):
                found.append(table.name)
    return found


async def test_no_reader_of_live_memory_sees_a_shadow(engine: AsyncEngine) -> None:
    await tell(engine)
    async with engine.connect() as connection:
        before = await live_readings(connection)
    generation = await tell_shadow(engine)
    await spend(engine, generation, "3.5")
    async with engine.connect() as connection:
        after = await live_readings(connection)
    assert [name for name in before if before[name] != after[name]] == []
    async with engine.begin() as connection:
        assert await publish_user(connection, *ANN, LATER, uuid4, with_events=True) == Snapshot(1, 1)


async def test_a_user_whom_only_a_shadow_knows_is_no_orphan_and_is_not_listed(engine: AsyncEngine) -> None:
    await tell_shadow(engine, user_id="bob")
    async with engine.connect() as connection:
        assert await orphans(connection) == {}
        page = await list_users(
            connection, "default", search="", order_by="updated_at", descending=True, limit=10, offset=0
        )
        assert (page.users, page.count) == ([], 0)
        assert await read_export(connection, "default", "bob", LATER) is None


async def test_what_is_left_of_a_shadow_that_is_gone_is_an_orphan(engine: AsyncEngine) -> None:
    await tell(engine)
    await tell_shadow(engine)
    async with engine.begin() as connection:
        await connection.execute(delete(shadows))
    async with engine.connect() as connection:
        kinds = await orphans(connection)
    memory = ("profiles", "profile_history", "events", "gists")
    assert kinds == {
        **{f"{name} of a generation that nobody reads": 2 for name in memory},
        "units of a generation that nobody reads": 4,
        "units without ledger row": 2,
    }


async def test_the_history_before_a_promotion_is_no_orphan_and_memory_is(engine: AsyncEngine) -> None:
    await remember(engine, "b1", "Acme")
    generation = await tell_shadow(engine)
    said = {"op": "u", "revision": 2, "recorded_at": NOW, "project_id": "default", "user_id": "ann"}
    async with engine.begin() as connection:
        await connection.execute(update(users).values(live_generation=generation))
        values = {**said, "generation": generation, "kind": "promotion", "before": {"generation": 0}}
        await connection.execute(insert(edit_history).values(values))
        await connection.execute(
            insert(edit_history).values({**said, "generation": 0, "kind": "user", "after": {"team": "red"}})
        )
    async with engine.connect() as connection:
        kinds = list(await orphans(connection))
        exported = await read_export(connection, *ANN, LATER)
        state = (await read_states(connection, [ANN]))[ANN]
        changes = (await read_changes(connection, [ANN]))[ANN]
    assert kinds == [f"{name} of a generation that nobody reads" for name in ("profiles", "events", "units")]
    assert exported is not None
    assert [edit.kind for edit in exported.edits] == ["user"]
    assert (state.state_revision, changes.imported_revision) == (2, 2)


async def test_an_import_is_known_after_a_promotion_and_a_shadow_is_in_nobodys_way(engine: AsyncEngine) -> None:
    await tell(engine)
    async with engine.begin() as connection:
        exported = await read_export(connection, *ANN, LATER)
        assert exported is not None
        forget = command("forget-user", offset=0)
        await apply_command(connection, forget, position(60, "extraction-windows"), NOW, uuid4)
    how = Importer("export", LATER, uuid4, 1 << 21, revives_forgotten=True)
    generation = await tell_shadow(engine)
    async with engine.begin() as connection:
        assert await import_user(connection, exported, how) == "imported"
        await connection.execute(update(users).values(live_generation=generation))
        assert await import_user(connection, exported, how) == "unchanged"


async def test_deleting_a_blob_takes_it_out_of_a_shadow_which_reads_its_memory_again(engine: AsyncEngine) -> None:
    generation = await seed_shadow(engine)
    memory = memory_of(change("company", None, SECRET), gists=[SECRET], summary=SECRET)
    await apply_in_shadow(engine, generation, application(window(FIRST), memory=memory))
    kept = memory_of(change("city", None, "Oslo", message_id="b2/0"))
    await apply_in_shadow(engine, generation, application(window(SECOND), memory=kept))
    letter = {"letter_id": uuid4(), "generation": generation, "project_id": "default", "user_id": "ann"}
    async with engine.begin() as connection:
        values = {**letter, "blob_id": "b1", "payload": SECRET, "headers": {}, "created_at": NOW}
        await connection.execute(insert(shadow_letters).values(values))
    assert await text_in(engine, SECRET) == ["profiles", "profile_history", "events", "gists", "shadow_letters"]
    async with engine.begin() as connection:
        erasure = await erase_blob(connection, *ANN, "b1", LATER, uuid4)
    assert (erasure.profile_changes, erasure.event_changes) == (0, 0)
    assert await text_in(engine, SECRET) == []
    assert await rows_of(engine, profiles, "generation", "content") == [(generation, "Oslo")]
    assert await rows_of(engine, shadow_users, "revision") == [(3,)]
    states = await rows_of(engine, units, "generation", "blob_id", "state")
    assert states == [(0, "b1", "erased"), (generation, "b1", "erased"), (generation, "b2", "applied")]
    assert await count_of(engine, outbox) == 0


async def test_deleting_a_blob_takes_it_out_of_the_history_before_a_promotion(engine: AsyncEngine) -> None:
    memory = memory_of(change("company", None, SECRET), gists=[SECRET], summary=SECRET)
    await apply_once(engine, application(window(FIRST), memory=memory))
    generation = await seed_shadow(engine)
    await apply_in_shadow(engine, generation, application(window(FIRST), memory=memory))
    edited = {"summary": SECRET, "tags": []}
    async with engine.begin() as connection:
        await connection.execute(delete(events).where(events.c.generation == 0))
        await connection.execute(delete(profiles).where(profiles.c.generation == 0))
        await connection.execute(update(users).values(live_generation=generation))
        said = {"op": "u", "revision": 1, "recorded_at": NOW, "project_id": "default", "user_id": "ann"}
        values = {**said, "generation": 0, "kind": "event", "event_id": uuid4(), "before": edited, "after": edited}
        await connection.execute(insert(edit_history).values(values))
    async with engine.begin() as connection:
        await erase_blob(connection, *ANN, "b1", LATER, uuid4)
    assert await text_in(engine, SECRET) == []


async def test_what_is_dropped_from_the_dead_letters_does_not_come_back_with_a_shadow(engine: AsyncEngine) -> None:
    await apply_once(engine, application(window(FIRST), applied=[], parked=[ParkedUnit(FIRST, "rejected", "", 1)]))
    generation = await seed_shadow(engine)
    memory = memory_of(change("company", None, SECRET), summary=SECRET)
    await apply_in_shadow(engine, generation, application(window(FIRST), memory=memory))
    async with engine.begin() as connection:
        assert await drop_parked(connection, *ANN, "b1", LATER)
    assert await text_in(engine, SECRET) == []
    assert await rows_of(engine, units, "generation", "state") == [(0, "erased"), (generation, "erased")]


async def test_forgetting_a_user_leaves_nothing_in_any_shadow(engine: AsyncEngine) -> None:
    await tell(engine)
    await tell_shadow(engine)
    async with engine.begin() as connection:
        await apply_command(connection, command("forget-user"), position(60, "extraction-windows"), NOW, uuid4)
    tables = (profiles, profile_history, events, gists, units, shadow_users, shadow_windows, shadow_letters)
    assert [await count_of(engine, table) for table in tables] == [0] * len(tables)
    assert await count_of(engine, shadows) == 1


async def test_what_a_shadow_spends_is_told_apart_and_counts_against_no_budget(engine: AsyncEngine) -> None:
    generation = await seed_shadow(engine)
    gone = await seed_shadow(engine, "gone")
    for spender, cost in ((None, "0.5"), (generation, "2"), (gone, "1")):
        await spend(engine, spender, cost)
    async with engine.begin() as connection:
        await connection.execute(delete(shadows).where(shadows.c.generation == gone))
        assert await read_spent(connection, "default", "ann", *day_of(NOW)) == Spent(100, Decimal("0.5"))
        lines = await summarise_usage(connection, "shadow", UsageFilter())
        assert [(line.key["shadow"], line.cost) for line in lines] == [
            ("better", Decimal(2)),
            (f"generation {gone} (discarded)", Decimal(1)),
            (None, Decimal("0.5")),
        ]
        assert (await total_usage(connection, UsageFilter())).cost == Decimal("3.5")
        assert (await total_usage(connection, UsageFilter(spent_for="live"))).cost == Decimal("0.5")
        assert (await total_usage(connection, UsageFilter(spent_for=generation))).cost == Decimal(2)


async def test_what_a_shadow_has_spent_is_kept_while_it_counts_against_its_limit(engine: AsyncEngine) -> None:
    generation = await seed_shadow(engine)
    promoted = await seed_shadow(engine, "promoted", state="promoted")
    for spender in (None, generation, promoted):
        await spend(engine, spender, "1")
    await prune(engine, NOW + timedelta(days=1))
    assert await rows_of(engine, usage, "generation") == [(generation,)]
