"""What is counted and traced of calls to models: how they ended, how long they took, how many are under way."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import openai

from extraction.endpoint.failures import translate
from schemas.errors import ContextTooLong, EndpointRefused, MemostreamError, RetryLater
from schemas.metrics import Metrics
from schemas.tracing import OUTCOME, Attributes, Tracer

EMBED: Final = "embed"


@contextmanager
def counted_call(metrics: Metrics, tracer: Tracer, model: str, step: str) -> Iterator[None]:
    """Around one call with its retries; raises what it raises."""
    begin_s = time.perf_counter()
    outcome = "ok"
    operation = "embeddings" if step == EMBED else "chat"
    with tracer.span("client", f"{operation} {model}", _attributes(operation, model, step)) as span:
        metrics.add("memostream_llm_calls_in_flight", 1)
        try:
            yield
        except (openai.OpenAIError, MemostreamError, asyncio.CancelledError) as error:
            outcome = outcome_of(error)
            raise
        finally:
            duration_s = time.perf_counter() - begin_s
            metrics.add("memostream_llm_calls_in_flight", -1)
            metrics.add("memostream_llm_calls_total", model=model, step=step, outcome=outcome)
            metrics.observe("memostream_llm_call_duration_seconds", duration_s, model=model, step=step)
            span.note({OUTCOME: outcome})


def _attributes(operation: str, model: str, step: str) -> Attributes:
    return {
        "gen_ai.operation.name": operation,
        # Whoever serves it: that is whose API it is.
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "memostream.step": step,
    }


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
