"""A transaction of a stage counts what it held, once and only when it is committed."""

import asyncio
from collections import Counter

import pytest

from schemas.errors import LeaseLost, RetryLater
from streams.stage_metrics import StageMetrics
from tests.support.recording_metrics import RecordingMetrics

COUNTS = Counter(
    {"records": 9, "buffered": 5, "duplicate": 1, "parked": 2, "letter.too-large": 2, "forwarded": 1, "window.idle": 3}
)


def test_a_committed_batch_counts_by_outcome_reason_and_size() -> None:
    metrics = RecordingMetrics()
    stage = StageMetrics(metrics, "buffer", iter((10.0, 10.5)).__next__)
    with stage.transaction(COUNTS):
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
        Counter({"records": 4, "mapped": 7, "ignored.where": 2, "null": 1})
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
    with pytest.raises(type(error)), stage.transaction(COUNTS):
        raise error
    assert stage.moved == 0
    assert metrics.counted == {("memostream_transactions_total", ("buffer", outcome)): 1}
    assert not metrics.observed
