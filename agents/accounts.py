"""What extraction spends: counted for each attempt, written to Postgres, and checked against the day's budgets."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import structlog

from agents.counting import count_spent
from agents.dependencies import ShadowWork, SpendingDeps
from agents.faults import UserKey
from schemas.budgets import BudgetLimits, Reached, Spent, day_of, is_near, reached
from schemas.costs import cost_of
from schemas.errors import RetryLater
from schemas.memory import Usage
from schemas.windows import Window
from storage.errors import translated
from storage.usage import Attempt, ModelCalls, UsageOutcome, read_spent, record_usage, shadow_cost

log = structlog.get_logger()

# How long a project's sum is relied on while its budgets are far.
SUM_AGE_S: Final = 5.0
# Attempts that wait for Postgres; beyond, the oldest are given up.
MAX_UNWRITTEN: Final = 1000
# An attempt that is cancelled does not hold up the shutdown for longer.
WRITE_S: Final = 5.0
# A shadow that has cost what it may looks again after so long.
COST_LOOK_S: Final = 10.0


class BudgetReached(RetryLater):
    """Nothing may be spent on this user before `until`: hold the windows, it is nobody's failure."""

    def __init__(self, budget: Reached, until: datetime, delay_s: float) -> None:
        super().__init__(f"the day's budget is used up: budget.{budget.scope}_{budget.kind}_a_day", delay_s)
        self.until = until


class Meter:
    """What one attempt has spent so far, and how it ended; `model` did what no model is named for."""

    def __init__(self, attempt_id: UUID) -> None:
        self.attempt_id = attempt_id
        self.usage = Usage()
        self.model = ""
        self.ended_as: UsageOutcome = "stopped"

    @property
    def is_empty(self) -> bool:
        return self.usage == Usage()

    def add(self, usage: Usage | None) -> None:
        if usage is not None:
            self.usage += usage


@dataclass(slots=True)
class _KnownSum:
    spent: Spent
    read_at_s: float


class Accounts:
    """Shared by all users of a worker. Other workers' spending is seen through the database."""

    def __init__(self, deps: SpendingDeps) -> None:
        self._deps = deps
        self._day: datetime | None = None
        self._projects: dict[str, _KnownSum] = {}
        # A day's sum does not become less.
        self._used_up: dict[str, Reached] = {}
        self._reported: set[tuple[str, str | None]] = set()
        # What could not be written while Postgres was away.
        self._unwritten: list[Attempt] = []

    async def check(self, user: UserKey) -> None:
        """Raises BudgetReached when a budget of the user or the project is used up, RetryLater without Postgres; for a
        shadow RetryLater once it has cost what it may, for more may be allowed while it waits.
        """
        if self._deps.shadow is not None:
            await self._check_cost(self._deps.shadow)
            return
        limits = self._deps.budget.of_project(user[0])
        now = self._deps.clock.now()
        start, end = day_of(now)
        if start != self._day:
            self._day = start
            self._projects.clear()
            self._used_up.clear()
            self._reported.clear()
        budget = self._used_up.get(user[0])
        if budget is None:
            project = await self._project_spent(user[0], limits, start, end) if limits.has("project") else Spent()
            # Read each time, for it is quick, and one attempt of a user runs at a time.
            own = await self._read(user[0], user[1], start, end) if limits.has("user") else Spent()
            budget = reached(limits, project, own)
        if budget is not None:
            if budget.scope == "project":
                self._used_up[user[0]] = budget
            self._report(user, budget, end)
            raise BudgetReached(budget, end, (end - now).total_seconds())

    def attempt(self, meter: Meter, user: UserKey, windows: Sequence[Window], outcome: UsageOutcome) -> Attempt:
        """What is written of an attempt that has ended."""
        return Attempt(
            attempt_id=meter.attempt_id,
            project_id=user[0],
            user_id=user[1],
            window_ids=tuple(window.window_id for window in windows),
            said_at=tuple(unit.first_position for window in windows for unit in window.units),
            outcome=outcome,
            calls=tuple(self._calls(meter)),
            recorded_at=self._deps.clock.now(),
            shadow=None if self._deps.shadow is None else self._deps.shadow.generation,
        )

    async def written(self, attempt: Attempt) -> None:
        """Count on what the transaction of the windows has written, and write what waited for Postgres."""
        self._count(attempt)
        await self._write_all()

    async def record_apart(self, attempt: Attempt) -> None:
        """Write what an attempt spent that came to nothing; where Postgres is away, with a later one."""
        self._count(attempt)
        self._keep([attempt])
        await self._write_all()

    async def _check_cost(self, shadow: ShadowWork) -> None:
        max_cost = shadow.max_cost()
        if max_cost is None:
            return
        with translated("reading what a shadow has cost"):
            async with self._deps.engine.connect() as connection:
                cost = await shadow_cost(connection, shadow.generation)
        if cost >= max_cost:
            raise RetryLater(
                f"the shadow has cost {cost:.2f} of {max_cost:.2f}: allow more with --max-cost", COST_LOOK_S
            )

    async def _write_all(self) -> None:
        waiting, self._unwritten = self._unwritten, []
        try:
            while waiting:
                with translated("writing usage"):
                    # One a transaction: each locks a name.
                    async with asyncio.timeout(WRITE_S), self._deps.engine.begin() as connection:
                        await record_usage(connection, waiting[0])
                del waiting[0]
        except RetryLater as error:
            log.warning("usage.not_written", reason=str(error), attempts=len(waiting))
        finally:
            # Also when it is cancelled, by the end of an attempt that is cut short.
            self._keep(waiting)

    def _keep(self, attempts: Sequence[Attempt]) -> None:
        self._unwritten += attempts
        excess = len(self._unwritten) - MAX_UNWRITTEN
        if excess > 0:
            del self._unwritten[:excess]
            log.warning("usage.dropped", attempts=excess)

    def _count(self, attempt: Attempt) -> None:
        count_spent(self._deps.metrics, attempt)
        known = self._projects.get(attempt.project_id)
        if known is not None and day_of(attempt.recorded_at)[0] == self._day:
            known.spent += spent_in(attempt)

    def _calls(self, meter: Meter) -> list[ModelCalls]:
        named = dict(meter.usage.models)
        rest = meter.usage - sum(named.values(), Usage())
        if rest != Usage() or not named:
            named[meter.model] = named.get(meter.model, Usage()) + rest
        return [ModelCalls(name, calls, cost_of(calls, name, self._deps.prices)) for name, calls in named.items()]

    async def _project_spent(self, project_id: str, limits: BudgetLimits, start: datetime, end: datetime) -> Spent:
        known = self._projects.get(project_id)
        if (
            known is None
            or self._deps.clock.monotonic() - known.read_at_s > SUM_AGE_S
            or is_near(limits, "project", known.spent)
        ):
            read_at_s = self._deps.clock.monotonic()
            spent = await self._read(project_id, None, start, end)
            known = self._projects[project_id] = _KnownSum(spent, read_at_s)
        return known.spent

    async def _read(self, project_id: str, user_id: str | None, start: datetime, end: datetime) -> Spent:
        with translated("reading what was spent"):
            async with self._deps.engine.connect() as connection:
                return await read_spent(connection, project_id, user_id, start, end)

    def _report(self, user: UserKey, budget: Reached, until: datetime) -> None:
        """Once a day for each project and each user."""
        of_user = budget.scope == "user"
        key = (user[0], user[1] if of_user else None)
        if key in self._reported:
            return
        self._reported.add(key)
        reached_budget = f"{budget.scope}_{budget.kind}_a_day"
        self._deps.metrics.add("memostream_budget_reached_total", budget=reached_budget)
        log.warning(
            "budget.reached",
            project_id=user[0],
            user_id=user[1] if of_user else None,
            budget=reached_budget,
            until=until.isoformat(),
        )


def spent_in(attempt: Attempt) -> Spent:
    """What counts against budgets."""
    return sum((Spent(calls.usage.tokens, calls.cost or Decimal(0)) for calls in attempt.calls), Spent())
