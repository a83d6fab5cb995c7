"""Reads what extraction has spent in a period, for a person or a script."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from cli.showing import connected
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from storage.usage import By, UsageFilter, UsageSum, summarise_usage, total_usage

DEFAULT_DAYS = 30


@dataclass(frozen=True, slots=True)
class Period:
    """Days of UTC, the last one included."""

    first: date
    last: date

    @classmethod
    def of(cls, first: date | None, last: date | None, today: date) -> "Period":
        """Up to today, and 30 days long, where nothing else is said; raises ConfigurationError for no day at all."""
        last = last or today
        first = first or date.fromordinal(max(1, last.toordinal() - DEFAULT_DAYS + 1))
        if first > last:
            raise ConfigurationError(f"--since {first} must not be after --until {last}")
        return cls(first, last)

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """The first moment, and the first one after the period."""
        # Nothing is recorded on the last day that there is.
        return _midnight(self.first), _midnight(min(self.last, date.max - timedelta(days=1))) + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class UsageReport:
    """A line each, and their sum, `live` without what was spent for shadows; `currency` is what the costs are in."""

    by: By
    period: Period
    currency: str
    lines: tuple[UsageSum, ...]
    total: UsageSum
    live: UsageSum


async def read_report(
    settings: Settings, by: By, period: Period, project_id: str | None, user_id: str | None
) -> UsageReport:
    """Sum up a period; raises RetryLater if Postgres is away."""
    since, until = period.bounds
    wanted = UsageFilter(since, until, project_id, user_id)
    async with connected(settings.storage) as connection:
        lines = await summarise_usage(connection, by, wanted)
        total = await total_usage(connection, wanted)
        live = await total_usage(connection, replace(wanted, spent_for="live"))
    return UsageReport(by, period, settings.prices.currency, tuple(lines), total, live)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
