"""What extraction has spent: a row for each attempt and model, sums of them, and how they end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Date, Select, bindparam, case, cast, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.budgets import Spent
from schemas.memory import Usage
from schemas.windows import Position
from storage.compiled import Compiled
from storage.locking import lock_name
from storage.reading import read_cut_off
from storage.shadow_tables import shadows
from storage.tables import usage, users
from storage.units import ForgetCutOff
from storage.writes import RowsOf, Writes

# `waiting`: an endpoint or Postgres was away, so the windows are tried again. `stopped`: cut short from inside.
# `embedded`: no extraction, but what had no embedding yet. `re-embedded`: by `memostream reembed`.
UsageOutcome = Literal["applied", "parked", "duplicate", "erased", "waiting", "stopped", "embedded", "re-embedded"]
By = Literal["day", "project", "user", "model", "shadow"]

UNFINISHED: Final = ("waiting", "stopped")
EMBEDDED: Final = "embedded"
REEMBEDDED: Final = "re-embedded"


@dataclass(frozen=True, slots=True)
class ModelCalls:
    """What one model did in an attempt; `cost` None where it had no price."""

    model: str
    usage: Usage
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to extract windows together. `said_at` are the first positions of their units."""

    attempt_id: UUID
    project_id: str
    user_id: str
    window_ids: tuple[UUID, ...]
    said_at: tuple[Position, ...]
    outcome: UsageOutcome
    calls: tuple[ModelCalls, ...]
    recorded_at: datetime
    # The generation of the shadow that it was for; None for live memory.
    shadow: int | None = None


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which rows to sum; None is all. `until` is the first moment that does not belong, `spent_for` live memory or the
    shadow of a generation.
    """

    since: datetime | None = None
    until: datetime | None = None
    project_id: str | None = None
    user_id: str | None = None
    spent_for: Literal["live"] | int | None = None


@dataclass(frozen=True, slots=True)
class UsageSum:
    """A line of a report. `key` has a value for each word that it was asked by; that of a forgotten user is None, and
    so is the shadow of what live memory has spent.

    `extractions` came to an end, `unfinished` are attempts that did not. `unpriced_tokens` are not in `cost`.
    """

    key: Mapping[str, str | date | None]
    extractions: int
    unfinished: int
    usage: Usage
    cost: Decimal
    unpriced_tokens: int


async def record_usage(connection: AsyncConnection, attempt: Attempt) -> None:
    """Write the attempt, once, under the lock on the user's name."""
    await lock_name(connection, attempt.project_id, attempt.user_id)
    cut_off = await read_cut_off(connection, attempt.project_id, attempt.user_id)
    is_known = cut_off is None or await _is_remembered(connection, attempt.project_id, attempt.user_id)
    writes = Writes()
    add_usage(writes, attempt, cut_off, is_known=is_known)
    await writes.send(connection)


def add_usage(writes: Writes, attempt: Attempt, cut_off: ForgetCutOff | None, *, is_known: bool = True) -> None:
    """Add the attempt, while the user's row or name is locked, so that no forget passes before it is committed.

    It names a user who was forgotten only after a return (`is_known`: they have a row), and for what was said since.
    """
    is_forgotten = cut_off is not None and (
        not is_known or all(cut_off.covers(position) for position in attempt.said_at)
    )
    writes.add(
        _ROWS,
        (
            {
                "attempt_id": attempt.attempt_id,
                "model": calls.model,
                "project_id": attempt.project_id,
                "user_id": None if is_forgotten else attempt.user_id,
                "window_ids": [] if is_forgotten else attempt.window_ids,
                "outcome": attempt.outcome,
                **{name: getattr(calls.usage, name) for name in _COUNTS},
                "cost": calls.cost,
                "generation": attempt.shadow,
                "recorded_at": attempt.recorded_at,
            }
            for calls in attempt.calls
        ),
    )


async def forget_usage(connection: AsyncConnection, project_id: str, user_id: str) -> None:
    """Take the user's name, which is locked, off what was spent; the project's sums stay."""
    await connection.execute(
        update(usage)
        .where(usage.c.project_id == project_id, usage.c.user_id == user_id)
        .values(user_id=None, window_ids=[])
    )


async def read_spent(
    connection: AsyncConnection, project_id: str, user_id: str | None, since: datetime, until: datetime
) -> Spent:
    """What a project, or one user of it, has spent from `since` to just before `until`.

    Without what an operator has embedded by another model, or extracted for a shadow: it must not stop anybody's
    extraction.
    """
    query = select(_tokens(), func.coalesce(func.sum(usage.c.cost), 0)).where(
        usage.c.project_id == project_id,
        usage.c.recorded_at >= since,
        usage.c.recorded_at < until,
        usage.c.outcome != REEMBEDDED,
        usage.c.generation.is_(None),
    )
    if user_id is not None:
        query = query.where(usage.c.user_id == user_id)
    tokens, cost = (await connection.execute(query)).one()
    return Spent(int(tokens), Decimal(cost))


async def shadow_cost(connection: AsyncConnection, generation: int) -> Decimal:
    """What a shadow has cost so far."""
    query = select(func.coalesce(func.sum(usage.c.cost), 0)).where(usage.c.generation == generation)
    return Decimal(await connection.scalar(query) or 0)


async def summarise_usage(connection: AsyncConnection, by: By, wanted: UsageFilter) -> list[UsageSum]:
    """Sums by day (UTC), project, user, model or shadow; days in order, of the others the dearest first."""
    keys: dict[By, dict[str, Any]] = {
        "day": {"day": cast(func.timezone("UTC", usage.c.recorded_at), Date)},
        "project": {"project_id": usage.c.project_id},
        "user": {"project_id": usage.c.project_id, "user_id": usage.c.user_id},
        "model": {"model": usage.c.model},
        "shadow": {"shadow": _shadow_name()},
    }
    columns = keys[by]
    query = _sums(columns, wanted).group_by(*columns.values())
    if by == "day":
        query = query.order_by(columns["day"])
    else:
        query = query.order_by(_cost().desc(), _tokens().desc(), *columns.values())
    return [_sum(row, columns) for row in (await connection.execute(query)).all()]


async def total_usage(connection: AsyncConnection, wanted: UsageFilter) -> UsageSum:
    """The sum of everything; an extraction that asked several models is one."""
    return _sum((await connection.execute(_sums({}, wanted))).one(), {})


async def prune_usage(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Remove up to `limit` rows that are older; returns how many there were."""
    # What a shadow has spent counts against its limit as long as it is there.
    is_counted = exists().where(shadows.c.generation == usage.c.generation, shadows.c.state != "promoted")
    old = (
        select(usage.c.attempt_id, usage.c.model)
        .where(usage.c.recorded_at < before, ~is_counted)
        .limit(limit)
        .subquery()
    )
    result = await connection.execute(
        delete(usage).where(usage.c.attempt_id == old.c.attempt_id, usage.c.model == old.c.model)
    )
    return result.rowcount


_COUNTS: Final = (
    "completions",
    "embedding_calls",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "embedding_tokens",
    "latency_ms",
)


_ROWS: Final = RowsOf(
    usage,
    *("attempt_id", "model", "project_id", "user_id", "window_ids", "outcome", "cost", "generation"),
    *("recorded_at", *_COUNTS),
    keeps=True,
)
_USER: Final = Compiled(
    select(users.c.user_id).where(
        users.c.project_id == bindparam("project_id"), users.c.user_id == bindparam("user_id")
    )
)


async def _is_remembered(connection: AsyncConnection, project_id: str, user_id: str) -> bool:
    return await _USER.row(connection, project_id=project_id, user_id=user_id) is not None


def _tokens() -> Any:
    paid = usage.c.prompt_tokens + usage.c.completion_tokens + usage.c.embedding_tokens
    return func.coalesce(func.sum(paid), 0)


def _shadow_name() -> Any:
    """Null for live memory; of a shadow that was discarded nothing but its number is known."""
    name = select(shadows.c.name).where(shadows.c.generation == usage.c.generation).scalar_subquery()
    discarded = func.concat("generation ", usage.c.generation, " (discarded)")
    return case((usage.c.generation.is_not(None), func.coalesce(name, discarded)))


def _cost() -> Any:
    return func.coalesce(func.sum(usage.c.cost), 0)


def _sums(columns: Mapping[str, Any], wanted: UsageFilter) -> Select[Any]:
    attempts = func.count(usage.c.attempt_id.distinct())
    is_unfinished = usage.c.outcome.in_(UNFINISHED)
    paid = usage.c.prompt_tokens + usage.c.completion_tokens + usage.c.embedding_tokens
    query = select(
        *(column.label(name) for name, column in columns.items()),
        attempts.filter(~is_unfinished, usage.c.outcome.not_in((EMBEDDED, REEMBEDDED))).label("extractions"),
        attempts.filter(is_unfinished).label("unfinished"),
        *(func.coalesce(func.sum(usage.c[name]), 0).label(name) for name in _COUNTS),
        _cost().label("cost"),
        func.coalesce(func.sum(case((usage.c.cost.is_(None), paid), else_=0)), 0).label("unpriced_tokens"),
    )
    if wanted.since is not None:
        query = query.where(usage.c.recorded_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(usage.c.recorded_at < wanted.until)
    if wanted.project_id is not None:
        query = query.where(usage.c.project_id == wanted.project_id)
    if wanted.user_id is not None:
        query = query.where(usage.c.user_id == wanted.user_id)
    if wanted.spent_for == "live":
        query = query.where(usage.c.generation.is_(None))
    elif wanted.spent_for is not None:
        query = query.where(usage.c.generation == wanted.spent_for)
    return query


def _sum(row: Any, columns: Mapping[str, Any]) -> UsageSum:
    names: Sequence[str] = tuple(columns)
    return UsageSum(
        key={name: getattr(row, name) for name in names},
        extractions=row.extractions,
        unfinished=row.unfinished,
        usage=Usage(*(int(getattr(row, name)) for name in _COUNTS)),
        cost=Decimal(row.cost),
        unpriced_tokens=int(row.unpriced_tokens),
    )
