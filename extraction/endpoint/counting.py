"""What is counted of calls to models: how they ended, how long they took, how many are under way."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import openai

from extraction.endpoint.failures import translate
from schemas.errors import ContextTooLong, EndpointRefused, MemostreamError, RetryLater
from schemas.metrics import Metrics


@contextmanager
def counted_call(metrics: Metrics, model: str, step: str) -> Iterator[None]:
    """Around one call with its retries; raises what it raises."""
    begin_s = time.perf_counter()
    outcome = "ok"
    metrics.add("memostream_llm_calls_in_flight", 1)
    try:
        yield
    except (openai.OpenAIError, MemostreamError, asyncio.CancelledError) as error:
        outcome = outcome_of(error)
        raise
    finally:
        metrics.add("memostream_llm_calls_in_flight", -1)
        metrics.add("memostream_llm_calls_total", model=model, step=step, outcome=outcome)
        metrics.observe("memostream_llm_call_duration_seconds", time.perf_counter() - begin_s, model=model, step=step)


def outcome_of(error: BaseException) -> str:
    """A label for what went wrong."""
    if isinstance(error, openai.OpenAIError):
        error = translate(error, datetime.now(UTC))
    match error:
        case asyncio.CancelledError():
            return "cancelled"
        case EndpointRefused():
            return "refused"
        case RetryLater():
            return "away"
        case ContextTooLong():
            return "too-long"
    return "rejected"
