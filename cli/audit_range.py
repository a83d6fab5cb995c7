"""A range of time, in the forms of `kafka-consumer-groups --reset-offsets`. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.errors import ConfigurationError
from storage.audit_applied import TimeRange

_DURATION: Final = re.compile(r"P(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_DATETIME_FORM: Final = "an ISO time, as in 2026-11-20T10:00:00.000 (UTC) or 2026-11-20T10:00:00+01:00"


def time_range(from_datetime: str | None, to_datetime: str | None, by_duration: str | None, now: datetime) -> TimeRange:
    """The range, open where nothing is given; raises ConfigurationError for another form or an empty range."""
    if from_datetime is not None and by_duration is not None:
        raise ConfigurationError("--from-datetime and --by-duration both say where to begin: leave one out")
    begin = None if from_datetime is None else moment("--from-datetime", from_datetime)
    if by_duration is not None:
        begin = now - duration(by_duration)
    end = None if to_datetime is None else moment("--to-datetime", to_datetime)
    if begin is not None and begin > now:
        raise ConfigurationError("--from-datetime is in the future: nothing has been written since")
    if begin is not None and end is not None and begin >= end:
        option = "--from-datetime" if by_duration is None else "--by-duration"
        raise ConfigurationError(f"the range is empty: {option} must begin before --to-datetime")
    return TimeRange(begin, end)


def check_offsets(from_offset: int | None, to_offset: int | None) -> None:
    """Raises ConfigurationError for an empty range."""
    if from_offset is not None and to_offset is not None and from_offset >= to_offset:
        raise ConfigurationError("the range is empty: --from-offset must be below --to-offset")


def moment(option: str, value: str) -> datetime:
    """The time that an option names, in UTC; raises ConfigurationError for another form."""
    try:
        found = datetime.fromisoformat(value)
        # As kafka-consumer-groups takes it.
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(f"{option} must be {_DATETIME_FORM}") from None
    if found.year < 1970:
        raise ConfigurationError(f"{option} must not be before 1970")
    return found


def duration(value: str) -> timedelta:
    """What --by-duration says; raises ConfigurationError for another form."""
    match = _DURATION.fullmatch(value)
    parts = match.groups() if match is not None else ()
    try:
        days, hours, minutes, seconds = (float(part or 0) for part in parts)
        found = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except (ValueError, OverflowError):
        found = timedelta()
    # Before 1970 there is no record.
    if not timedelta() < found < timedelta(days=18_000):
        raise ConfigurationError("--by-duration must be PnDTnHnMnS and more than nothing, as in P1D or PT1H30M")
    return found
