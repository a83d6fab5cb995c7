"""One call to an endpoint: through its gate, with bounded retries around the SDK, errors translated."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import httpx2
import openai
from pydantic import SecretStr

from extraction.endpoint.failures import retry_after_s, translate
from extraction.endpoint.limits import MAX_PAUSE_S, Gate
from schemas.errors import EndpointRefused, RetryLater

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

OPENAI_BASE_URL: Final = "https://api.openai.com/v1"
FIRST_WAIT_S: Final = 0.5
# More than any model reads and writes in one call.
MAX_CALL_TOKENS: Final = 20_000_000


class Body(openai.BaseModel):
    """For `cast_to`: the JSON of the answer as it is; building models of the SDK takes longer than reading it."""

    @classmethod
    def build(cls, *, response: httpx2.Response, data: object) -> Any:  # noqa: ARG003
        """Called by the SDK."""
        return data


def member(value: object, name: str) -> Any:
    """A member of a JSON object, None where there is none: servers leave out what the API promises."""
    return value.get(name) if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """`latency_ms` is that of all tries, without what was waited before and between them."""

    result: T
    latency_ms: int


def open_client(
    base_url: str | None,
    api_key: SecretStr | None,
    timeout_s: float,
    headers: dict[str, str],
    query: dict[str, str],
    http: httpx2.AsyncClient | None = None,
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
        http_client=http,
    )


async def call(
    once: Callable[[], Awaitable[T]],
    max_retries: int,
    gate: Gate,
    tokens: int = 0,
    sleep: Sleep = asyncio.sleep,
    jitter: Callable[[], float] = random.random,
) -> Answered[T]:
    """The result of `once`, tried again for connection errors, 429 and 5xx up to `max_retries` times.

    `tokens` is an estimate of what it will cost. How long the endpoint asks to wait is waited by everybody at the
    gate; `jitter` (0 to 1) shortens only waits of our own. A time-out is not tried again here: it has taken long
    enough. Raises the SDK's BadRequestError and UnprocessableEntityError as they are, since the caller may change the
    request, and else our own errors.
    """
    spent_s = 0.0
    for attempt in range(max_retries + 1):
        async with gate.passed(tokens) as charge:
            begin = time.perf_counter()
            try:
                result = await once()
                charge.tokens = token_count(member(result, "usage"), "total_tokens") or tokens
                return Answered(result, round(1000 * (spent_s + time.perf_counter() - begin)))
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                raise
            except openai.OpenAIError as error:
                wait_s = _wait_s(error, attempt < max_retries, gate)
                if wait_s is None:
                    raise translate(error, datetime.now(UTC)) from error
            except (ValueError, OverflowError, RecursionError) as error:
                # The SDK lets through what falls over a body that is no JSON, nested too deep, or full of digits.
                raise RetryLater("the endpoint answered with something unreadable") from error
            spent_s += time.perf_counter() - begin
        await sleep(wait_s or FIRST_WAIT_S * 2**attempt * (1.0 - jitter() / 2.0))
    raise AssertionError("unreachable: the last attempt returns or raises")


def token_count(counted: object, name: str) -> int:
    """A count of a reply's usage; 0 where it is left out, or cannot be meant.

    What is taken is owed at the gate, added up and written to Postgres, so one absurd figure would stop everybody.
    """
    value = member(counted, name)
    return value if isinstance(value, int) and 0 <= value <= MAX_CALL_TOKENS else 0


def _wait_s(error: openai.OpenAIError, may_retry: bool, gate: Gate) -> float | None:
    """How long the endpoint asks to wait before the next try, 0 where it does not say, None where there is none."""
    now = datetime.now(UTC)
    asked_s = 0.0
    if isinstance(error, openai.APIStatusError):
        asked_s = retry_after_s(error.response.headers, now)
        gate.pause(asked_s)
    translated = translate(error, now)
    if (
        not may_retry
        or not isinstance(translated, RetryLater)
        or isinstance(translated, EndpointRefused)
        or isinstance(error, openai.APITimeoutError)
        or asked_s > MAX_PAUSE_S
    ):
        return None
    return asked_s
