"""Settings of what may be spent in a day, and whether it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Field, PositiveInt

from schemas.section import Section

Money = Annotated[Decimal, Field(gt=0)]
Scope = Literal["project", "user"]
Kind = Literal["tokens", "cost"]

# From this part of a budget on, a sum that was read before is not relied on any more.
NEAR: Final = Decimal("0.9")


class BudgetLimits(Section):
    """What a project, and each of its users, may use from midnight to midnight (UTC)."""

    project_tokens_a_day: PositiveInt | None = Field(
        None, description="Prompt, completion and embedding tokens of all users of a project; null is no limit."
    )
    user_tokens_a_day: PositiveInt | None = Field(None, description="The same of each user.")
    project_cost_a_day: Money | None = Field(
        None, description="What the tokens of a project may cost, in prices.currency; null is no limit."
    )
    user_cost_a_day: Money | None = Field(None, description="The same of each user.")

    def limit(self, scope: Scope, kind: Kind) -> Decimal | None:
        value = getattr(self, f"{scope}_{kind}_a_day")
        return None if value is None else Decimal(value)

    def has(self, scope: Scope) -> bool:
        """Whether anything of this scope has a limit."""
        return self.limit(scope, "tokens") is not None or self.limit(scope, "cost") is not None


class BudgetSettings(BudgetLimits):
    """What extraction may spend from midnight to midnight (UTC). A user above it waits for the next day, or for a
    higher budget and a restart; nothing is lost, and others go on.
    """

    projects: dict[str, BudgetLimits] = Field(
        {},
        description="Other limits for named projects; a key that is left out there is as above, null is no limit.",
        examples=[{"trial": {"project_tokens_a_day": 200000, "user_tokens_a_day": 20000}}],
    )

    def of_project(self, project_id: str) -> BudgetLimits:
        """The limits that hold for a project."""
        own = self.projects.get(project_id)
        limits = {name: getattr(self, name) for name in BudgetLimits.model_fields}
        if own is not None:
            limits |= {name: getattr(own, name) for name in own.model_fields_set}
        return BudgetLimits.model_construct(**limits)

    @property
    def limits_money(self) -> bool:
        everywhere: Iterator[BudgetLimits] = iter((self, *self.projects.values()))
        return any(limits.limit(scope, "cost") is not None for limits in everywhere for scope in ("project", "user"))


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens of every kind, and what those cost that have a price."""

    tokens: int = 0
    cost: Decimal = Decimal(0)

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.tokens + other.tokens, self.cost + other.cost)


@dataclass(frozen=True, slots=True)
class Reached:
    """The budget that leaves nothing."""

    scope: Scope
    kind: Kind


def reached(limits: BudgetLimits, project: Spent, user: Spent) -> Reached | None:
    """The budget that is used up, the project's first; None while there is something left of all."""
    spent_of: tuple[tuple[Scope, Spent], ...] = (("project", project), ("user", user))
    for scope, spent in spent_of:
        if _is_at(limits, scope, spent, Decimal(1), "tokens"):
            return Reached(scope, "tokens")
        if _is_at(limits, scope, spent, Decimal(1), "cost"):
            return Reached(scope, "cost")
    return None


def is_near(limits: BudgetLimits, scope: Scope, spent: Spent) -> bool:
    """Whether so little is left that the sum must be exact."""
    return _is_at(limits, scope, spent, NEAR, "tokens") or _is_at(limits, scope, spent, NEAR, "cost")


def day_of(moment: datetime) -> tuple[datetime, datetime]:
    """The day in UTC that a moment lies in: its beginning, and its end, which belongs to the next."""
    start = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return start, start + timedelta(days=1)


def _is_at(limits: BudgetLimits, scope: Scope, spent: Spent, part: Decimal, kind: Kind) -> bool:
    limit = limits.limit(scope, kind)
    return limit is not None and (spent.tokens if kind == "tokens" else spent.cost) >= limit * part
