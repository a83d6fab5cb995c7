"""The page that Prometheus scrapes: what was counted, in its format, read back by its own parser."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.metrics import METRICS
from streams.loop_lag import KEEP_S, LoopLag
from streams.prometheus import PrometheusMetrics
from tests.support.recording_metrics import RecordingMetrics

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def samples(metrics: PrometheusMetrics) -> Samples:
    families = text_string_to_metric_families((await metrics.page()).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def series(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


async def test_counters_gauges_and_histograms_are_shown_with_their_labels() -> None:
    metrics = PrometheusMetrics()
    metrics.add("memostream_windows_total", 3, reason="flush")
    metrics.add("memostream_windows_total", reason="flush")
    metrics.add("memostream_extraction_in_flight", 2)
    metrics.add("memostream_extraction_in_flight", -1)
    metrics.observe("memostream_extraction_duration_seconds", 0.2, outcome="applied")
    shown = await samples(metrics)
    assert shown[series("memostream_windows_total", reason="flush")] == 4
    assert shown[series("memostream_extraction_in_flight")] == 1
    assert shown[series("memostream_extraction_duration_seconds_count", outcome="applied")] == 1
    assert shown[series("memostream_extraction_duration_seconds_bucket", outcome="applied", le="0.1")] == 0
    assert shown[series("memostream_extraction_duration_seconds_bucket", outcome="applied", le="0.25")] == 1


async def test_a_gauge_that_is_replaced_loses_what_is_gone() -> None:
    metrics = PrometheusMetrics()
    metrics.replace("memostream_held_windows", {("budget",): 2.0, ("endpoint-away",): 1.0})
    metrics.replace("memostream_held_windows", {("budget",): 3.0})
    shown = {key: value for key, value in (await samples(metrics)).items() if key[0] == "memostream_held_windows"}
    assert shown == {series("memostream_held_windows", reason="budget"): 3.0}


async def test_what_was_never_counted_is_not_shown_and_the_process_is() -> None:
    names = {name for name, _ in await samples(PrometheusMetrics())}
    assert {name for name in names if name.startswith("memostream_")} == {"memostream_build_info"}
    assert "process_resident_memory_bytes" in names
    assert "process_cpu_seconds_total" in names


async def test_sources_are_asked_before_each_page() -> None:
    metrics = PrometheusMetrics()
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        metrics.replace("memostream_relay_shards", {(): float(looks)})

    metrics.scraped_from(look)
    await metrics.page()
    assert (await samples(metrics))[series("memostream_relay_shards")] == 2


async def test_two_of_a_process_share_nothing() -> None:
    first, second = PrometheusMetrics(), PrometheusMetrics()
    first.add("memostream_published_rows_total", topic="profiles")
    assert series("memostream_published_rows_total", topic="profiles") not in await samples(second)


def test_a_wrong_kind_or_label_is_an_error_and_not_a_series() -> None:
    metrics = PrometheusMetrics()
    with pytest.raises(TypeError, match="is a histogram"):
        metrics.add("memostream_transaction_records", stage="buffer")
    with pytest.raises(TypeError, match="is no histogram"):
        metrics.observe("memostream_relay_shards", 1.0)
    with pytest.raises(TypeError, match="is no gauge"):
        metrics.replace("memostream_published_rows_total", {})
    with pytest.raises(ValueError, match="label"):
        metrics.add("memostream_windows_total", of="flush")
    assert METRICS["memostream_windows_total"].labels == ("reason",)


async def test_the_longest_stall_is_remembered_past_the_next_scrape_and_then_forgotten() -> None:
    metrics = RecordingMetrics()
    lag = LoopLag(metrics)
    lag.seen(0.4, 1.0)
    lag.seen(0.1, 2.0)
    lag.seen(0.0, KEEP_S + 1)
    await lag.show()
    assert metrics.gauges["memostream_event_loop_lag_seconds"] == {(): 0.4}
    lag.seen(0.0, 2 * KEEP_S + 2)
    await lag.show()
    assert metrics.gauges["memostream_event_loop_lag_seconds"] == {(): 0.0}


async def test_a_loop_that_is_held_up_is_seen() -> None:
    lag = LoopLag(RecordingMetrics())
    measuring = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    # What no coroutine should do.
    asyncio.get_running_loop().call_soon(_spin, 0.4)
    await asyncio.sleep(0.3)
    measuring.cancel()
    assert lag.largest_s > 0.05


def _spin(duration_s: float) -> None:
    import time

    time.sleep(duration_s)
