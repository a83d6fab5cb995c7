"""What was spent, on a real database: sums, names that go, rows that go."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.budgets import Spent, day_of
from schemas.memory import Usage
from schemas.windows import Position
from storage.commands import apply_command
from storage.tables import usage as usage_table
from storage.usage import (
    Attempt,
    By,
    ModelCalls,
    UsageFilter,
    UsageSum,
    read_spent,
    record_usage,
    summarise_usage,
    total_usage,
)
from storage.usage_pruning import prune
from tests.integration.storage.builders import NOW, NOW_MS, command, count_of, position, remember, rows_of

CHAT = ModelCalls("chat", Usage(completions=2, prompt_tokens=100, completion_tokens=10), Decimal("0.5"))
VECTORS = ModelCalls("vectors", Usage(embedding_calls=1, embedding_tokens=7), Decimal("0.25"))


def attempt(*calls: ModelCalls, **values: Any) -> Attempt:
    return Attempt(
        **{
            "attempt_id": uuid4(),
            "project_id": "default",
            "user_id": "ann",
            "window_ids": (UUID(int=7),),
            "said_at": (position(0),),
            "outcome": "applied",
            "calls": calls or (CHAT, VECTORS),
            "recorded_at": NOW,
            **values,
        }
    )


async def write(engine: AsyncEngine, *attempts: Attempt) -> None:
    for one in attempts:
        async with engine.begin() as connection:
            await record_usage(connection, one)


async def sums(engine: AsyncEngine, by: By, **wanted: Any) -> Sequence[UsageSum]:
    async with engine.connect() as connection:
        return await summarise_usage(connection, by, UsageFilter(**wanted))


async def test_an_attempt_is_written_once_however_often_it_is_tried(engine: AsyncEngine) -> None:
    one = attempt()
    await write(engine, one, one)
    assert await rows_of(engine, usage_table, "model", "prompt_tokens", "embedding_tokens", "cost") == [
        ("chat", 100, 0, Decimal("0.5")),
        ("vectors", 0, 7, Decimal("0.25")),
    ]


async def test_sums_are_by_the_day_of_utc(engine: AsyncEngine) -> None:
    midnight = datetime(2026, 11, 21, tzinfo=UTC)
    await write(
        engine,
        attempt(recorded_at=midnight - timedelta(microseconds=1)),
        attempt(recorded_at=midnight),
        attempt(recorded_at=midnight + timedelta(hours=23, minutes=59)),
    )
    found = await sums(engine, "day")
    assert [(line.key["day"], line.extractions, line.cost) for line in found] == [
        (date(2026, 11, 20), 1, Decimal("0.75")),
        (date(2026, 11, 21), 2, Decimal("1.5")),
    ]
    (first,) = await sums(engine, "day", until=midnight)
    assert first.key == {"day": date(2026, 11, 20)}


async def test_sums_are_by_project_user_and_model_the_dearest_first(engine: AsyncEngine) -> None:
    await write(
        engine,
        attempt(VECTORS),
        attempt(VECTORS),
        attempt(user_id="bob"),
        attempt(CHAT, project_id="shop", user_id="ann", outcome="waiting"),
        attempt(CHAT, project_id="shop", user_id="ann"),
    )
    by_project = await sums(engine, "project")
    assert [(line.key["project_id"], line.extractions, line.unfinished, line.cost) for line in by_project] == [
        ("default", 3, 0, Decimal("1.25")),
        ("shop", 1, 1, Decimal("1.0")),
    ]
    assert [(*line.key.values(), line.cost) for line in await sums(engine, "user", project_id="default")] == [
        ("default", "bob", Decimal("0.75")),
        ("default", "ann", Decimal("0.50")),
    ]
    assert [(line.key["model"], line.usage) for line in await sums(engine, "model")] == [
        ("chat", Usage(completions=6, prompt_tokens=300, completion_tokens=30)),
        ("vectors", Usage(embedding_calls=3, embedding_tokens=21)),
    ]


async def test_an_extraction_that_asked_two_models_is_one_in_the_total(engine: AsyncEngine) -> None:
    await write(engine, attempt(), attempt(ModelCalls("new", Usage(completions=1, prompt_tokens=40), None)))
    async with engine.connect() as connection:
        total = await total_usage(connection, UsageFilter())
        nothing = await total_usage(connection, UsageFilter(user_id="nobody"))
    assert (total.extractions, total.usage.tokens, total.cost, total.unpriced_tokens) == (2, 157, Decimal("0.75"), 40)
    assert (nothing.extractions, nothing.usage, nothing.cost) == (0, Usage(), Decimal(0))


async def test_what_a_user_and_a_project_have_spent_today_counts_every_attempt(engine: AsyncEngine) -> None:
    await write(
        engine,
        attempt(),
        attempt(outcome="waiting"),
        attempt(user_id="bob"),
        attempt(project_id="shop"),
        attempt(recorded_at=NOW - timedelta(days=1)),
    )
    async with engine.connect() as connection:
        assert await read_spent(connection, "default", None, *day_of(NOW)) == Spent(351, Decimal("2.25"))
        assert await read_spent(connection, "default", "ann", *day_of(NOW)) == Spent(234, Decimal("1.5"))
        assert await read_spent(connection, "default", "zoe", *day_of(NOW)) == Spent()


async def test_a_forget_takes_the_name_off_and_leaves_the_sums_of_the_project(engine: AsyncEngine) -> None:
    await write(engine, attempt(), attempt(user_id="bob"))
    async with engine.begin() as connection:
        await apply_command(connection, command("forget-user"), position(60, "extraction-windows"), NOW, uuid4)
    assert await rows_of(engine, usage_table, "model", "user_id", "window_ids") == [
        ("chat", "bob", [UUID(int=7)]),
        ("chat", None, []),
        ("vectors", "bob", [UUID(int=7)]),
        ("vectors", None, []),
    ]
    (line,) = await sums(engine, "project")
    assert line.cost == Decimal("1.5")


@pytest.mark.parametrize(
    ("offset", "came_back", "named"), [(49, False, None), (49, True, None), (51, False, None), (51, True, "ann")]
)
async def test_what_is_written_after_a_forget_names_only_a_user_who_came_back(
    engine: AsyncEngine, offset: int, came_back: bool, named: str | None
) -> None:
    async with engine.begin() as connection:
        await apply_command(connection, command("forget-user"), position(60, "extraction-windows"), NOW, uuid4)
    if came_back:
        await remember(engine, "b9", "Acme", offset=52)
    said = Position(topic="chat-messages", partition=0, offset=offset, timestamp_ms=NOW_MS - 1000)
    await write(engine, attempt(CHAT, said_at=(said,)))
    assert await rows_of(engine, usage_table, "user_id") == [(named,)]


async def test_old_rows_are_pruned_in_batches_and_younger_ones_stay(engine: AsyncEngine) -> None:
    await write(engine, *(attempt(recorded_at=NOW - timedelta(days=days)) for days in (400, 401, 402, 399)))
    await prune(engine, NOW - timedelta(days=399, hours=1), batch_rows=2)
    assert await count_of(engine, usage_table) == 2
