"""One call to an endpoint: bounded retries around the SDK, errors translated."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

import openai
from pydantic import SecretStr

from extraction.endpoint.failures import retry_after_s, translate
from schemas.errors import EndpointRefused, RetryLater

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

OPENAI_BASE_URL: Final = "https://api.openai.com/v1"
# Who is asked to wait longer than this gives the call back, so that the runtime can do other work.
MAX_WAIT_S: Final = 5.0
FIRST_WAIT_S: Final = 0.5


def open_client(
    base_url: str | None,
    api_key: SecretStr | None,
    timeout_s: float,
    headers: dict[str, str],
    query: dict[str, str],
) -> openai.AsyncOpenAI:
    """A client that never retries by itself; opens no connection. Key and address come from the settings only."""
    return openai.AsyncOpenAI(
        base_url=base_url or OPENAI_BASE_URL,
        # Local servers want no key, but the SDK wants some.
        api_key=api_key.get_secret_value() if api_key is not None else "none",
        timeout=timeout_s,
        max_retries=0,
        default_headers=headers,
        default_query=dict(query),
    )


async def call(once: Callable[[], Awaitable[T]], max_retries: int, sleep: Sleep = asyncio.sleep) -> T:
    """The result of `once`, tried again for connection errors, 429 and 5xx up to `max_retries` times.

    A time-out is not tried again here: it has taken long enough. Raises the SDK's BadRequestError and
    UnprocessableEntityError as they are, since the caller may change the request, and else our own errors.
    """
    for attempt in range(max_retries + 1):
        try:
            return await once()
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            raise
        except openai.OpenAIError as error:
            now = datetime.now(UTC)
            translated = translate(error, now)
            may_retry = (
                isinstance(translated, RetryLater)
                and not isinstance(translated, EndpointRefused)
                and not isinstance(error, openai.APITimeoutError)
            )
            wait_s = FIRST_WAIT_S * 2**attempt
            if isinstance(error, openai.APIStatusError):
                wait_s = retry_after_s(error.response.headers, now) or wait_s
            if not may_retry or attempt == max_retries or wait_s > MAX_WAIT_S:
                raise translated from error
            await sleep(wait_s)
        except ValueError as error:
            # The SDK lets a body that is no JSON through as the decoder's error.
            raise RetryLater("the endpoint answered with something unreadable") from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def token_count(counted: object, name: str) -> int:
    """A count of a reply's usage, 0 where the server leaves it out, whatever the SDK's types promise."""
    value = getattr(counted, name, None)
    return value if isinstance(value, int) else 0
