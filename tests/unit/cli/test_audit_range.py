"""Ranges of time are given as kafka-consumer-groups takes them."""

from datetime import UTC, datetime, timedelta

import pytest

from cli.audit_findings import CHECKS, chosen_checks
from cli.audit_range import check_offsets, time_range
from schemas.errors import ConfigurationError
from storage.audit_applied import TimeRange

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_without_options_the_range_is_open() -> None:
    assert time_range(None, None, None, NOW) == TimeRange()


@pytest.mark.parametrize(
    "value", ["2026-11-20T10:00:00.000", "2026-11-20T10:00:00Z", "2026-11-20T11:00:00+01:00", "2026-11-20T10:00"]
)
def test_a_time_without_a_zone_is_utc(value: str) -> None:
    assert time_range(value, None, None, NOW) == TimeRange(NOW - timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("P1D", timedelta(days=1)),
        ("PT1H30M", timedelta(minutes=90)),
        ("P1DT0.5S", timedelta(days=1, seconds=0.5)),
    ],
)
def test_a_duration_counts_back_from_now(value: str, expected: timedelta) -> None:
    assert time_range(None, "2026-11-20T11:59:59.9", value, NOW).begin == NOW - expected


@pytest.mark.parametrize("value", ["", "P", "PT", "1D", "P1H", "PT1D", "-P1D", "P1M", "PT0S", "P99999999999D"])
def test_another_form_of_a_duration_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="--by-duration must be PnDTnHnMnS"):
        time_range(None, None, value, NOW)


@pytest.mark.parametrize("value", ["", "yesterday", "2026-13-01", "1732100000000", "0001-01-01T00:00:00+14:00"])
def test_another_form_of_a_time_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="--to-datetime must"):
        time_range(None, value, None, NOW)


@pytest.mark.parametrize(
    ("begin", "end", "duration", "message"),
    [
        ("2026-11-20T10:00", "2026-11-20T10:00", None, "the range is empty: --from-datetime"),
        ("2026-11-20T11:00", "2026-11-20T10:00", None, "the range is empty: --from-datetime"),
        (None, "2026-11-20T10:00", "PT1H", "the range is empty: --by-duration"),
        ("2026-11-20T13:00", None, None, "in the future"),
        ("2026-11-20T10:00", None, "P1D", "leave one out"),
    ],
)
def test_an_empty_range_is_refused(begin: str | None, end: str | None, duration: str | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        time_range(begin, end, duration, NOW)


def test_offsets_that_hold_nothing_are_refused() -> None:
    check_offsets(3, 4)
    check_offsets(3, None)
    with pytest.raises(ConfigurationError, match="the range is empty"):
        check_offsets(3, 3)


def test_checks_are_chosen_by_name() -> None:
    assert chosen_checks(()) == set(CHECKS)
    assert chosen_checks(["order", "once"]) == {"order", "once"}
    with pytest.raises(ConfigurationError, match="there is no ordr; they are records, once"):
        chosen_checks(["ordr"])
