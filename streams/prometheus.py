"""Metrics of one process for Prometheus: kept in a registry of their own, and written as a page when it is scraped."""

import platform
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from schemas.metrics import METRICS, Metric, MetricName

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

# Brings gauges up to date just before they are shown.
Source = Callable[[], Awaitable[object]]


class PrometheusMetrics:
    """The port Metrics. A series is shown from the first time on that it is counted."""

    def __init__(self) -> None:
        # Each counter would have a second series that says when it began.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._collectors: dict[MetricName, Counter | Gauge | Histogram] = {}
        self._sources: list[Source] = []
        # Memory, CPU and open files; on Linux only.
        ProcessCollector(registry=self._registry)
        self.replace("memostream_build_info", {(version("memostream"), platform.python_version()): 1.0})

    def add(self, name: MetricName, amount: float = 1.0, /, **labels: str) -> None:
        series = self._series(name, labels)
        if isinstance(series, Histogram):
            raise TypeError(f"{name} is a histogram")
        series.inc(amount)

    def observe(self, name: MetricName, value: float, /, **labels: str) -> None:
        series = self._series(name, labels)
        if not isinstance(series, Histogram):
            raise TypeError(f"{name} is no histogram")
        series.observe(value)

    def replace(self, name: MetricName, series: Mapping[tuple[str, ...], float], /) -> None:
        gauge = self._collector(name)
        if not isinstance(gauge, Gauge):
            raise TypeError(f"{name} is no gauge")
        if METRICS[name].labels:
            gauge.clear()
        elif not series:
            self._registry.unregister(self._collectors.pop(name))
        for values, value in series.items():
            (gauge.labels(*values) if values else gauge).set(value)

    def scraped_from(self, source: Source) -> None:
        """Ask `source` before each page; what cannot be had it leaves as it was, or takes away."""
        self._sources.append(source)

    async def page(self) -> bytes:
        """All series, in Prometheus' text format."""
        for source in self._sources:
            await source()
        return generate_latest(self._registry)

    def _series(self, name: MetricName, labels: Mapping[str, str]) -> Counter | Gauge | Histogram:
        collector = self._collector(name)
        return collector.labels(**labels) if labels else collector

    def _collector(self, name: MetricName) -> Counter | Gauge | Histogram:
        collector = self._collectors.get(name)
        if collector is None:
            collector = self._collectors[name] = _collector_of(name, METRICS[name], self._registry)
        return collector


def _collector_of(name: MetricName, metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    match metric.kind:
        case "counter":
            return Counter(name, metric.help, metric.labels, registry=registry)
        case "gauge":
            return Gauge(name, metric.help, metric.labels, registry=registry)
        case "histogram":
            return Histogram(name, metric.help, metric.labels, buckets=metric.buckets, registry=registry)
