"""The period of a report of what was spent."""

from datetime import date

import pytest

from cli.usage import Period
from schemas.errors import ConfigurationError

TODAY = date(2026, 11, 20)


def test_a_period_ends_today_and_has_thirty_days_where_nothing_is_said() -> None:
    assert Period.of(None, None, TODAY) == Period(date(2026, 10, 22), TODAY)


def test_the_last_day_belongs_to_the_period() -> None:
    since, until = Period.of(TODAY, TODAY, TODAY).bounds
    assert (since.isoformat(), until.isoformat()) == ("2026-11-20T00:00:00+00:00", "2026-11-21T00:00:00+00:00")


@pytest.mark.parametrize("day", [date.min, date(1, 1, 5), date.max])
def test_the_first_and_the_last_day_of_all_can_be_asked_for(day: date) -> None:
    since, until = Period.of(None, day, TODAY).bounds
    assert since <= until


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--since"):
        Period.of(TODAY, date(2026, 11, 19), TODAY)
