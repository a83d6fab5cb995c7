"""What an endpoint says of itself, in headers and counts, is read as far as it can be meant."""

from datetime import UTC, datetime

import pytest

from extraction.endpoint.client import MAX_CALL_TOKENS, token_count
from extraction.endpoint.failures import retry_after_s

NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Fri, 20 Nov 2026 00:00:09 GMT"}, 9.0),
        ({"retry-after": "Fri, 20 Nov 2026 00:00:09 -0000"}, 9.0),
        ({"retry-after": "Thu, 19 Nov 2026 00:00:00 GMT"}, 0.0),
        ({"retry-after": "99999999"}, 3600.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 99999999999999999999 00:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 00:00:00 +99999999999999999999"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "-1500"}, 0.0),
    ],
)
def test_a_wait_is_read_in_every_form_and_never_negative_or_endless(headers: dict[str, str], expected: float) -> None:
    assert retry_after_s(headers, NOW) == expected


@pytest.mark.parametrize("value", [None, -1, 1.5, "7", MAX_CALL_TOKENS + 1, 10**30])
def test_a_count_that_cannot_be_is_as_one_left_out(value: object) -> None:
    assert token_count({"total_tokens": value}, "total_tokens") == 0


@pytest.mark.parametrize("value", [0, 7, MAX_CALL_TOKENS])
def test_a_count_is_taken_as_the_server_says(value: int) -> None:
    assert token_count({"total_tokens": value}, "total_tokens") == value
