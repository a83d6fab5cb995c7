"""Rows that are sent to Postgres as JSON come out as they went in."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from asyncpg import NotNullViolationError
from sqlalchemy import Text, cast, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.memory import Usage
from storage.columns import vector_text
from storage.ledger import UnitCounts, add_ledger, window_row
from storage.outbox import OutboxRow, add_rows
from storage.tables import ledger, outbox, profile_history, profiles, usage, users
from storage.usage import Attempt, ModelCalls, add_usage
from storage.writes import RowsOf, UpdateOf, Writes
from tests.integration.storage.builders import DIMENSION, NOW, position, unit, window

AWKWARD = 'a "quoted" \\ word, {braces}, NULL,\n\ta line, 茶 and 🫖'
LATER = datetime(2026, 11, 21, 7, 8, 9, 123456, tzinfo=UTC)

ENTRIES = RowsOf(
    profiles,
    *("project_id", "user_id", "generation", "profile_id", "topic", "sub_topic", "content", "update_hits"),
    *("message_ids", "window_ids", "occurred_at", "recorded_at", "created_at", "updated_at", "embedding"),
    key="profile_id",
    moved=("content", "message_ids"),
)
HISTORY = RowsOf(
    profile_history,
    *("project_id", "user_id", "generation", "profile_id", "topic", "sub_topic", "op", "before", "after", "why"),
    *("revision", "message_ids", "quotes", "joined", "window_ids", "extractor", "occurred_at", "recorded_at"),
)


def entry(profile_id: UUID, content: str, **more: Any) -> dict[str, Any]:
    return {
        "project_id": "default",
        "user_id": "ann",
        "generation": 0,
        "profile_id": profile_id,
        "topic": "work",
        "sub_topic": "company",
        "content": content,
        "update_hits": 0,
        "message_ids": (AWKWARD, "b1/0"),
        "window_ids": [profile_id],
        "occurred_at": LATER,
        "recorded_at": NOW,
        "created_at": NOW,
        "updated_at": NOW,
        "embedding": None,
        **more,
    }


def history(profile_id: UUID, extractor: Mapping[str, str] | None) -> dict[str, Any]:
    said = {name: entry(profile_id, "")[name] for name in ("project_id", "user_id", "generation", "topic", "sub_topic")}
    return {
        **said,
        "profile_id": profile_id,
        "op": "c",
        "before": None,
        "after": AWKWARD,
        "why": "test",
        "revision": 1,
        "message_ids": (),
        "quotes": [{"message_id": "b1/0", "quote": AWKWARD}],
        "joined": [],
        "window_ids": [],
        "extractor": extractor,
        "occurred_at": LATER,
        "recorded_at": NOW,
    }


def outgoing(seq: int) -> OutboxRow:
    return OutboxRow(
        id=uuid4(),
        aggregate_type="profiles",
        aggregate_id="default/ann",
        type="r",
        payload=None if seq == 2 else f'{{"said":"{seq}"}}',
        headers={"memostream-seq": str(seq)},
        project_id="default",
        user_id="ann",
        seq=seq,
        created_at=NOW,
    )


@pytest.fixture
async def ann(engine: AsyncEngine) -> None:
    """A user, whom other rows name."""
    async with engine.begin() as connection:
        await connection.execute(
            users.insert().values(project_id="default", user_id="ann", created_at=NOW, updated_at=NOW)
        )


async def send(engine: AsyncEngine, writes: Writes) -> None:
    async with engine.begin() as connection:
        await writes.send(connection)


@pytest.mark.usefixtures("ann")
async def test_values_of_every_kind_come_out_as_they_went_in(engine: AsyncEngine) -> None:
    vector = np.linspace(-1, 1, DIMENSION, dtype=np.float32)
    one, other = uuid4(), uuid4()
    writes = Writes()
    writes.add(ENTRIES, [entry(one, AWKWARD, embedding=vector)])
    writes.add(HISTORY, [history(one, {"name": AWKWARD}), history(other, None)])
    await send(engine, writes)
    async with engine.connect() as connection:
        row = (await connection.execute(select(profiles))).one()
        halves = text("SELECT CAST(CAST(CAST(:vector AS text) AS halfvec) AS text)")
        as_stored = await connection.scalar(halves, {"vector": vector_text(vector)})
        assert await connection.scalar(select(cast(profiles.c.embedding, Text))) == as_stored
        told = (await connection.execute(select(profile_history).order_by(profile_history.c.history_id))).all()
        without_extractor = select(profile_history.c.profile_id).where(profile_history.c.extractor.is_(None))
        assert (await connection.execute(without_extractor)).scalars().all() == [other]
    assert (row.content, row.message_ids, row.window_ids) == (AWKWARD, [AWKWARD, "b1/0"], [one])
    assert (row.occurred_at, row.recorded_at) == (LATER, NOW)
    assert [(item.before, item.after, item.message_ids) for item in told] == [(None, AWKWARD, [])] * 2
    assert [item.quotes for item in told] == [[{"message_id": "b1/0", "quote": AWKWARD}]] * 2
    assert told[0].extractor == {"name": AWKWARD}


@pytest.mark.usefixtures("ann")
async def test_each_row_has_its_own_vector_and_a_connection_that_wrote_some_reads_and_takes_text(
    engine: AsyncEngine,
) -> None:
    ids = [uuid4() for _ in range(3)]
    vectors = [np.eye(DIMENSION, dtype=np.float32)[number] for number in range(2)]
    writes = Writes()
    for number, (profile_id, vector) in enumerate(zip(ids, [vectors[0], None, vectors[1]], strict=True)):
        writes.add(ENTRIES, [entry(profile_id, "Acme", sub_topic=f"slot {number}", embedding=vector)])
    async with engine.begin() as connection:
        await writes.send(connection)
        found = (await connection.execute(select(profiles.c.profile_id, profiles.c.embedding))).all()
        assert dict(map(tuple, found)) == {ids[0]: vectors[0].tolist(), ids[1]: None, ids[2]: vectors[1].tolist()}
        moved = update(profiles).where(profiles.c.profile_id == ids[1]).values(embedding=vectors[1])
        await connection.execute(moved)
        alike = text("SELECT profile_id FROM profiles WHERE embedding <=> CAST(:vector AS halfvec) = 0")
        named = await connection.execute(alike, {"vector": vector_text(vectors[1])})
        assert set(named.scalars()) == {ids[1], ids[2]}


@pytest.mark.usefixtures("ann")
async def test_an_upsert_moves_the_named_columns_only_and_triggers_count_new_rows(engine: AsyncEngine) -> None:
    profile_id = uuid4()
    for content, hits in (("Acme", 0), ("Globex", 7)):
        writes = Writes()
        writes.add(ENTRIES, [entry(profile_id, content, update_hits=hits)])
        await send(engine, writes)
    async with engine.connect() as connection:
        row = (await connection.execute(select(profiles.c.content, profiles.c.update_hits))).one()
        assert await connection.scalar(select(users.c.profile_count)) == 1
    assert tuple(row) == ("Globex", 0)


async def test_an_update_leaves_what_it_has_no_value_for_and_triggers_count_beside_it(engine: AsyncEngine) -> None:
    moved = UpdateOf(users, key=("project_id", "user_id"), moved=("revision", "updated_at"))
    async with engine.begin() as connection:
        for name in ("ann", "bob"):
            await connection.execute(
                users.insert().values(project_id="default", user_id=name, created_at=NOW, updated_at=NOW)
            )
    writes = Writes()
    writes.add(moved, [{"project_id": "default", "user_id": "ann", "revision": 5, "updated_at": None}])
    writes.add(ENTRIES, [entry(uuid4(), "Acme")])
    await send(engine, writes)
    found = select(users.c.user_id, users.c.revision, users.c.updated_at, users.c.profile_count).order_by("user_id")
    async with engine.connect() as connection:
        rows = (await connection.execute(found)).all()
    assert [tuple(row) for row in rows] == [("ann", 5, NOW, 1), ("bob", 0, NOW, 0)]


async def test_an_update_does_not_read_the_whole_table(engine: AsyncEngine) -> None:
    many = text(
        "INSERT INTO users (project_id, user_id, created_at, updated_at) "
        "SELECT 'default', 'user-' || number, now(), now() FROM generate_series(1, 5000) AS number"
    )
    scans = text("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'users'")
    writes = Writes()
    writes.add(
        UpdateOf(users, key=("project_id", "user_id"), moved=("revision",)),
        [{"project_id": "default", "user_id": "user-7", "revision": 5}],
    )
    async with engine.begin() as connection:
        await connection.execute(many)
        await connection.execute(text("ANALYZE users"))
        before = await connection.scalar(scans)
        await writes.send(connection)
        assert await connection.scalar(scans) == before
        assert await connection.scalar(select(func.count()).where(users.c.revision == 5)) == 1


async def test_rows_that_are_there_are_kept_and_every_wait_is_told(engine: AsyncEngine) -> None:
    done = window(unit("b1"))
    for counts in (UnitCounts(applied=1), UnitCounts(parked=1)):
        writes = Writes()
        add_ledger(writes, [window_row(done, position(1), counts, NOW)])
        await send(engine, writes)
    async with engine.connect() as connection:
        assert (await connection.execute(select(ledger.c.outcome))).scalars().all() == ["applied"]


async def test_outbox_rows_are_numbered_in_the_order_of_seq(engine: AsyncEngine) -> None:
    writes = Writes()
    add_rows(writes, [outgoing(seq) for seq in (3, 1, 2)])
    await send(engine, writes)
    async with engine.connect() as connection:
        rows = (await connection.execute(select(outbox).order_by(outbox.c.number))).all()
    assert [(row.seq, row.payload) for row in rows] == [(1, '{"said":"1"}'), (2, None), (3, '{"said":"3"}')]
    assert rows[0].headers == {"memostream-seq": "1"}


async def test_costs_keep_all_their_digits(engine: AsyncEngine) -> None:
    cost = Decimal("0.0000123456")
    calls = (ModelCalls("one", Usage(completions=1), cost), ModelCalls("two", Usage(embedding_calls=1), None))
    writes = Writes()
    add_usage(writes, Attempt(uuid4(), "default", "ann", (uuid4(),), (position(1),), "applied", calls, NOW), None)
    await send(engine, writes)
    async with engine.connect() as connection:
        found = (await connection.execute(select(usage.c.model, usage.c.cost).order_by(usage.c.model))).all()
    assert [tuple(row) for row in found] == [("one", cost), ("two", None)]


@pytest.mark.usefixtures("ann")
async def test_all_or_nothing_is_written(engine: AsyncEngine) -> None:
    writes = Writes()
    writes.add(HISTORY, [history(uuid4(), None)])
    writes.add(ENTRIES, [entry(uuid4(), "Acme", topic=None)])
    with pytest.raises(NotNullViolationError):
        await send(engine, writes)
    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(profile_history)) == 0


async def test_nothing_is_sent_where_nothing_was_added(engine: AsyncEngine) -> None:
    writes = Writes()
    writes.add(HISTORY, [])
    async with engine.connect() as connection:
        await writes.send(connection)
        assert not connection.in_transaction()
        assert await connection.scalar(text("SELECT 1")) == 1
