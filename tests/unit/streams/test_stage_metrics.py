"""A transaction of a stage counts and traces what it held, once and only when it is committed."""

import asyncio
from collections import Counter

import pytest

from schemas.errors import LeaseLost, RetryLater
from schemas.metrics import NO_METRICS
from schemas.trace import Trace
from schemas.tracing import consuming, sending
from streams.stage_metrics import StageMetrics
from tests.support.recording_metrics import RecordingMetrics
from tests.support.spans import KeptSpans, attributes_of, linked

ABOUT = consuming("chat-messages", 3, "memostream-buffer")
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
COUNTS = Counter(
    {"records": 9, "buffered": 5, "duplicate": 1, "parked": 2, "letter.too-large": 2, "forwarded": 1, "window.idle": 3}
)


def test_a_committed_batch_counts_by_outcome_reason_and_size() -> None:
    metrics = RecordingMetrics()
    stage = StageMetrics(metrics, "buffer", iter((10.0, 10.5)).__next__)
    with stage.transaction(COUNTS, ABOUT, ()):
        pass
    assert stage.moved == 1
    assert metrics.counted == {
        ("memostream_transactions_total", ("buffer", "committed")): 1,
        ("memostream_records_total", ("buffer", "buffered")): 5,
        ("memostream_records_total", ("buffer", "duplicate")): 1,
        ("memostream_records_total", ("buffer", "parked")): 2,
        ("memostream_records_total", ("buffer", "forwarded")): 1,
        ("memostream_dead_letters_total", ("buffer", "too-large")): 2,
        ("memostream_windows_total", ("idle",)): 3,
    }
    assert metrics.observed == {
        ("memostream_transaction_duration_seconds", ("buffer",)): [0.5],
        ("memostream_transaction_records", ("buffer",)): [9],
    }


def test_what_ingest_maps_and_ignores_are_blobs() -> None:
    metrics = RecordingMetrics()
    with StageMetrics(metrics, "ingest").transaction(
        Counter({"records": 4, "mapped": 7, "ignored.where": 2, "null": 1}), ABOUT, ()
    ):
        pass
    assert metrics.counted == {
        ("memostream_transactions_total", ("ingest", "committed")): 1,
        ("memostream_ingested_blobs_total", ("mapped",)): 7,
        ("memostream_ingested_blobs_total", ("where",)): 2,
        ("memostream_records_total", ("ingest", "null")): 1,
    }


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(LeaseLost("taken"), "fenced"), (RetryLater("away"), "failed"), (asyncio.CancelledError(), "abandoned")],
)
def test_a_batch_that_was_not_committed_counts_nothing_but_that(error: BaseException, outcome: str) -> None:
    metrics = RecordingMetrics()
    stage = StageMetrics(metrics, "buffer")
    with pytest.raises(type(error)), stage.transaction(COUNTS, ABOUT, ()):
        raise error
    assert stage.moved == 0
    assert metrics.counted == {("memostream_transactions_total", ("buffer", outcome)): 1}
    assert not metrics.observed


def test_a_committed_batch_is_a_span_by_the_conventions_names_linked_to_its_records() -> None:
    spans = KeptSpans()
    with StageMetrics(NO_METRICS, "buffer", tracer=spans.tracer).transaction(COUNTS, ABOUT, [Trace(PARENT)]):
        pass
    (span,) = spans.named("process chat-messages")
    assert linked(span) == [PARENT]
    assert span.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "chat-messages",
        "messaging.destination.partition.id": "3",
        "messaging.consumer.group.name": "memostream-buffer",
        "messaging.batch.message_count": 9,
        "memostream.buffered": 5,
        "memostream.duplicate": 1,
        "memostream.parked": 2,
        "memostream.letter.too-large": 2,
        "memostream.forwarded": 1,
        "memostream.window.idle": 3,
    }


@pytest.mark.parametrize(
    ("topics", "name"), [(["profiles"], "send profiles"), (["profiles", "event-updated"], "send relay")]
)
def test_a_batch_of_the_relay_has_a_destination_where_all_goes_to_one_topic(topics: list[str], name: str) -> None:
    spans = KeptSpans()
    with StageMetrics(NO_METRICS, "relay", tracer=spans.tracer).transaction(Counter(), sending(topics), (), 2):
        pass
    (span,) = spans.named(name)
    assert attributes_of(span)["messaging.batch.message_count"] == 2
    assert attributes_of(span).get("messaging.destination.name") == (topics[0] if len(topics) == 1 else None)


def test_a_batch_that_was_not_committed_says_why_and_not_what_it_held() -> None:
    spans = KeptSpans()
    stage = StageMetrics(NO_METRICS, "buffer", tracer=spans.tracer)
    with pytest.raises(RetryLater), stage.transaction(COUNTS, ABOUT, ()):
        raise RetryLater("away")
    (span,) = spans.ended
    assert span.attributes == {**ABOUT, "messaging.batch.message_count": 9, "error.type": "RetryLater"}
