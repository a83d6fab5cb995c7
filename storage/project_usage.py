"""What a project has used: calls that insert, counted by day, and what is left of its budget."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.budgets import BudgetLimits, day_of
from storage.errors import translated
from storage.tables import insert_counts
from storage.usage import UsageFilter, read_spent, summarise_usage


@dataclass(frozen=True, slots=True)
class Inserts:
    """Calls that insert, and how many of them were answered with an id."""

    calls: int = 0
    stored: int = 0


@dataclass(frozen=True, slots=True)
class DayOfProject:
    """A day of UTC. Tokens are those of chat completions."""

    day: date
    inserts: Inserts
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Billing:
    """`tokens_left` until `refilled_at`, both None without a budget of tokens; a month begins on its first in UTC."""

    tokens_left: int | None
    refilled_at: datetime | None
    tokens_of_month: int


def adding_to(engine: AsyncEngine) -> Callable[[Mapping[tuple[str, date], Inserts]], Awaitable[None]]:
    """Adds to the counts, in a transaction of its own; raises RetryLater if Postgres is away."""

    async def add(counted: Mapping[tuple[str, date], Inserts]) -> None:
        with translated("counting inserts"):
            async with engine.begin() as connection:
                await add_inserts(connection, counted)

    return add


async def add_inserts(connection: AsyncConnection, counted: Mapping[tuple[str, date], Inserts]) -> None:
    """Add to the counts of projects and days."""
    statement = insert(insert_counts)
    # In one order everywhere, so that two gateways do not wait for each other.
    rows = [
        {"project_id": project_id, "day": day, "inserts": inserts.calls, "stored": inserts.stored}
        for (project_id, day), inserts in sorted(counted.items())
    ]
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[insert_counts.c.project_id, insert_counts.c.day],
            set_={
                "inserts": insert_counts.c.inserts + statement.excluded.inserts,
                "stored": insert_counts.c.stored + statement.excluded.stored,
            },
        ),
        rows,
    )


async def read_days(connection: AsyncConnection, project_id: str, days: int, now: datetime) -> list[DayOfProject]:
    """The last days, today first; one on which nothing happened is there, too. Without what was spent for shadows."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=days - 1)
    counted = select(insert_counts).where(insert_counts.c.project_id == project_id, insert_counts.c.day >= first)
    inserts = {row.day: Inserts(row.inserts, row.stored) for row in (await connection.execute(counted)).all()}
    wanted = UsageFilter(datetime.combine(first, time(), UTC), day_of(now)[1], project_id, spent_for="live")
    spent = {line.key["day"]: line.usage for line in await summarise_usage(connection, "day", wanted)}
    found = []
    for day in (today - timedelta(days=back) for back in range(days)):
        of_day = spent.get(day)
        tokens = (of_day.prompt_tokens, of_day.completion_tokens) if of_day else (0, 0)
        found.append(DayOfProject(day, inserts.get(day, Inserts()), *tokens))
    return found


async def read_billing(connection: AsyncConnection, project_id: str, limits: BudgetLimits, now: datetime) -> Billing:
    """What the project has used this month, and what its budget leaves it today."""
    today, tomorrow = day_of(now)
    of_month = await read_spent(connection, project_id, None, today.replace(day=1), tomorrow)
    if limits.project_tokens_a_day is None:
        return Billing(None, None, of_month.tokens)
    of_day = await read_spent(connection, project_id, None, today, tomorrow)
    return Billing(max(0, limits.project_tokens_a_day - of_day.tokens), tomorrow, of_month.tokens)
