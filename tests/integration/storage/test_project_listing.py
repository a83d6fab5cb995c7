"""What is answered about a project: its users with their counts, its inserts and tokens by day, its budget."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.budgets import BudgetLimits
from schemas.memory import Usage
from schemas.windows import Position
from storage.project_usage import Billing, Inserts, add_inserts, read_billing, read_days
from storage.tables import users
from storage.usage import Attempt, ModelCalls, record_usage
from storage.user_listing import UserOrder, UserPage, list_users
from tests.integration.storage.builders import application, apply_once, change, unit, update, window

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


async def add_user(
    connection: AsyncConnection, user_id: str, minutes: int, project_id: str = "shop", **more: object
) -> None:
    moment = NOW + timedelta(minutes=minutes)
    await connection.execute(
        insert(users).values(project_id=project_id, user_id=user_id, created_at=NOW, updated_at=moment, **more)
    )


@pytest.fixture
async def listed(engine: AsyncEngine) -> AsyncEngine:
    async with engine.begin() as connection:
        await add_user(connection, "ann", 1, profile_count=5, event_count=0)
        await add_user(connection, "Anna_%", 2, profile_count=1, event_count=9, additional_fields={"plan": "free"})
        await add_user(connection, "ben", 3, profile_count=3, event_count=1)
        await add_user(connection, "ben", 9, project_id="blog", profile_count=99)
    return engine


async def page(
    engine: AsyncEngine,
    search: str = "",
    order_by: UserOrder = "updated_at",
    *,
    descending: bool = True,
    limit: int = 10,
    offset: int = 0,
) -> UserPage:
    async with engine.connect() as connection:
        return await list_users(
            connection, "shop", search=search, order_by=order_by, descending=descending, limit=limit, offset=offset
        )


def names(found: UserPage) -> list[str]:
    return [user.user_id for user in found.users]


async def test_users_of_one_project_come_in_the_order_that_is_asked_for(listed: AsyncEngine) -> None:
    assert names(await page(listed)) == ["ben", "Anna_%", "ann"]
    assert names(await page(listed, descending=False)) == ["ann", "Anna_%", "ben"]
    assert names(await page(listed, order_by="profile_count")) == ["ann", "ben", "Anna_%"]
    assert names(await page(listed, order_by="event_count")) == ["Anna_%", "ben", "ann"]
    first = (await page(listed)).users[1]
    assert (first.profile_count, first.event_count, first.additional_fields) == (1, 9, {"plan": "free"})


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [(2, 0, ["ben", "Anna_%"]), (2, 2, ["ann"]), (2, 4, []), (0, 0, []), (3, 0, ["ben", "Anna_%", "ann"])],
)
async def test_every_page_knows_how_many_there_are(
    listed: AsyncEngine, limit: int, offset: int, expected: list[str]
) -> None:
    found = await page(listed, limit=limit, offset=offset)
    assert (names(found), found.count) == (expected, 3)


@pytest.mark.parametrize(
    ("search", "expected"),
    [("ANN", ["Anna_%", "ann"]), ("_%", ["Anna_%"]), ("%", ["Anna_%"]), ("b_n", []), ("' OR 1=1 --", []), ("\\", [])],
)
async def test_a_search_is_for_the_very_characters(listed: AsyncEngine, search: str, expected: list[str]) -> None:
    found = await page(listed, search)
    assert (names(found), found.count) == (expected, len(expected))


async def test_the_counts_follow_what_extraction_writes(engine: AsyncEngine) -> None:
    memory = update(change("company", None, "Acme"), change("role", None, "cook"), gists=["a"], summary="b")
    await apply_once(engine, application(window(unit("b1"), project_id="shop"), memory=memory))
    counted = (await page(engine)).users[0]
    assert (counted.user_id, counted.profile_count, counted.event_count) == ("ann", 2, 1)

    memory = update(change("company", "Acme", None), summary="c")
    await apply_once(engine, application(window(unit("b2", 1), project_id="shop"), read_revision=1, memory=memory))
    counted = (await page(engine)).users[0]
    assert (counted.profile_count, counted.event_count) == (1, 2)


async def test_inserts_add_up_by_project_and_day_and_empty_days_are_there(engine: AsyncEngine) -> None:
    today, yesterday = date(2026, 11, 20), date(2026, 11, 19)
    async with engine.begin() as connection:
        await add_inserts(connection, {("shop", today): Inserts(2, 1), ("blog", today): Inserts(9, 9)})
        await add_inserts(connection, {("shop", today): Inserts(3, 3), ("shop", yesterday): Inserts(1, 0)})
        await spend(connection, "shop", NOW - timedelta(days=1), prompt=70, completion=7)
        await spend(connection, "blog", NOW, prompt=1000, completion=100)
        days = await read_days(connection, "shop", 3, NOW)
    assert [day.day for day in days] == [today, yesterday, date(2026, 11, 18)]
    assert [day.inserts for day in days] == [Inserts(5, 4), Inserts(1, 0), Inserts()]
    assert [(day.input_tokens, day.output_tokens) for day in days] == [(0, 0), (70, 7), (0, 0)]


async def test_a_budget_leaves_what_today_has_not_used(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await spend(connection, "shop", NOW.replace(day=1), prompt=500)
        await spend(connection, "shop", NOW, prompt=60, completion=5)
        await spend(connection, "shop", NOW - timedelta(days=25), prompt=9000)
        await spend(connection, "blog", NOW, prompt=9000)
        unlimited = await read_billing(connection, "shop", BudgetLimits(), NOW)
        limited = await read_billing(connection, "shop", BudgetLimits(project_tokens_a_day=100), NOW)
        spent = await read_billing(connection, "shop", BudgetLimits(project_tokens_a_day=50), NOW)
    midnight = datetime(2026, 11, 21, tzinfo=UTC)
    assert unlimited == Billing(None, None, 565)
    assert limited == Billing(35, midnight, 565)
    assert spent == Billing(0, midnight, 565)


async def spend(
    connection: AsyncConnection, project_id: str, moment: datetime, *, prompt: int, completion: int = 0
) -> None:
    calls = ModelCalls("m", Usage(completions=1, prompt_tokens=prompt, completion_tokens=completion), None)
    position = Position(topic="chat-messages", partition=0, offset=0, timestamp_ms=0)
    await record_usage(connection, Attempt(uuid4(), project_id, "ann", (), (position,), "applied", (calls,), moment))
