"""What extraction counts: attempts under way, units, and what models spent."""

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.memory import ExtractorIdentity
from schemas.metrics import Metrics
from storage.applying import Application
from storage.usage import Attempt


@contextmanager
def under_way(metrics: Metrics) -> Iterator[None]:
    """Around an attempt that has its slot."""
    metrics.add("memostream_extraction_in_flight", 1)
    try:
        yield
    finally:
        metrics.add("memostream_extraction_in_flight", -1)


def count_units(metrics: Metrics, application: Application) -> None:
    """After the transaction that applies them."""
    extractor = extractor_name(application.extractor)
    for outcome, units in (
        ("applied", application.applied),
        ("parked", application.parked),
        ("skipped", application.skipped),
    ):
        if units:
            metrics.add("memostream_units_total", len(units), outcome=outcome, extractor=extractor)
    for unit in application.parked:
        metrics.add("memostream_dead_letters_total", stage=unit.stage, reason=unit.reason)


def count_spent(metrics: Metrics, attempt: Attempt) -> None:
    """Once for an attempt that has ended, whatever came of it."""
    for calls in attempt.calls:
        for kind, tokens in (
            ("prompt", calls.usage.prompt_tokens),
            ("completion", calls.usage.completion_tokens),
            ("cached", calls.usage.cached_tokens),
            ("embedding", calls.usage.embedding_tokens),
        ):
            if tokens:
                metrics.add("memostream_llm_tokens_total", tokens, model=calls.model, kind=kind)
        if calls.cost:
            metrics.add("memostream_llm_cost_total", float(calls.cost), model=calls.model)


def extractor_name(identity: ExtractorIdentity) -> str:
    """Its kind and version, without the hash of the prompts, which a project's own configuration changes."""
    return f"{identity.name}-{identity.version}"
