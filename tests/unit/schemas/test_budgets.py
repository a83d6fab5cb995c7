"""Whether the budgets of a day leave anything, and when the next day begins."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from schemas.budgets import BudgetLimits, BudgetSettings, Reached, Spent, day_of, is_near, reached

NOTHING = Spent()


def test_without_limits_nothing_is_ever_used_up() -> None:
    spent = Spent(10**12, Decimal(10**9))
    assert reached(BudgetLimits(), spent, spent) is None
    assert not is_near(BudgetLimits(), "project", spent)


@pytest.mark.parametrize(
    ("limits", "project", "user", "found"),
    [
        ({"project_tokens_a_day": 100}, Spent(99), NOTHING, None),
        ({"project_tokens_a_day": 100}, Spent(100), NOTHING, Reached("project", "tokens")),
        ({"user_tokens_a_day": 100}, Spent(500), Spent(99), None),
        ({"user_tokens_a_day": 100}, Spent(500), Spent(101), Reached("user", "tokens")),
        ({"project_cost_a_day": "0.5"}, Spent(9, Decimal("0.499")), NOTHING, None),
        ({"project_cost_a_day": "0.5"}, Spent(9, Decimal("0.5")), NOTHING, Reached("project", "cost")),
        ({"user_cost_a_day": "0.5"}, NOTHING, Spent(9, Decimal(1)), Reached("user", "cost")),
        ({"user_tokens_a_day": 1, "project_cost_a_day": 1}, Spent(5, Decimal(2)), Spent(5), Reached("project", "cost")),
    ],
)
def test_a_budget_is_used_up_when_nothing_is_left_of_it(
    limits: dict[str, object], project: Spent, user: Spent, found: Reached | None
) -> None:
    assert reached(BudgetLimits.model_validate(limits), project, user) == found


def test_a_sum_is_near_its_limit_from_nine_tenths_on() -> None:
    limits = BudgetLimits(project_tokens_a_day=1000, project_cost_a_day=Decimal(10))
    assert not is_near(limits, "project", Spent(899, Decimal("8.9")))
    assert is_near(limits, "project", Spent(900))
    assert is_near(limits, "project", Spent(0, Decimal(9)))
    assert not is_near(limits, "user", Spent(900))


def test_a_named_project_has_its_own_limits_and_takes_the_others_from_above() -> None:
    budget = BudgetSettings.model_validate(
        {
            "project_tokens_a_day": 100,
            "user_tokens_a_day": 10,
            "projects": {"trial": {"user_tokens_a_day": 5}, "paid": {"project_tokens_a_day": None}},
        }
    )
    found = {
        name: (limits.project_tokens_a_day, limits.user_tokens_a_day)
        for name in ("default", "trial", "paid")
        for limits in [budget.of_project(name)]
    }
    assert found == {"default": (100, 10), "trial": (100, 5), "paid": (None, 10)}


def test_a_day_is_one_of_utc_wherever_the_worker_stands() -> None:
    begin, end = day_of(datetime(2026, 11, 20, 23, 59, 59, 999999, tzinfo=UTC))
    assert (begin, end) == (datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC))
    assert day_of(end)[0] == end
    tokyo = timezone(timedelta(hours=9))
    assert day_of(datetime(2026, 11, 21, 8, 59, tzinfo=tokyo))[0] == begin
