"""A call to a model is a span of its step and outcome, and holds nothing that was asked or answered."""

import asyncio
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from extraction.endpoint.counting import EMBED, counted_call
from schemas.errors import ContentRejected, EndpointRefused, RetryLater
from schemas.metrics import NO_METRICS
from tests.support.spans import KeptSpans


def attributes(operation: str, step: str, outcome: str, **more: Any) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "a-model",
        "memostream.step": step,
        "memostream.outcome": outcome,
        **more,
    }


@pytest.mark.parametrize(("step", "operation"), [("merge", "chat"), (EMBED, "embeddings")])
def test_an_answered_call_has_its_step_and_model(step: str, operation: str) -> None:
    spans = KeptSpans()
    with counted_call(NO_METRICS, spans.tracer, "a-model", step):
        pass
    (span,) = spans.named(f"{operation} a-model")
    assert span.attributes == attributes(operation, step, "ok")
    assert span.status.status_code == StatusCode.UNSET


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (EndpointRefused("the key sk-1 is wrong"), "refused"),
        (RetryLater("away"), "away"),
        (ContentRejected("she lives in Bergen"), "rejected"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_a_call_that_fails_says_how_and_not_what_the_error_says(error: BaseException, outcome: str) -> None:
    spans = KeptSpans()
    with pytest.raises(type(error)), counted_call(NO_METRICS, spans.tracer, "a-model", "extract"):
        raise error
    (span,) = spans.ended
    assert span.attributes == attributes("chat", "extract", outcome, **{"error.type": type(error).__name__})
    assert (span.status.status_code, span.events) == (StatusCode.ERROR, ())
