"""A Metrics that remembers what it was told, and refuses what METRICS does not declare."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from schemas.metrics import METRICS, Kind, MetricName

Series = tuple[str, tuple[str, ...]]


class RecordingMetrics:
    """By name and label values, in the order of their declaration; `observed` with every value."""

    def __init__(self) -> None:
        self.counted: Counter[Series] = Counter()
        self.gauges: dict[str, dict[tuple[str, ...], float]] = {}
        self.observed: defaultdict[Series, list[float]] = defaultdict(list)

    def add(self, name: MetricName, amount: float = 1.0, /, **labels: str) -> None:
        assert amount >= 0 or METRICS[name].kind == "gauge", name
        self.counted[_series(name, labels, "counter", "gauge")] += amount  # type: ignore[assignment]

    def observe(self, name: MetricName, value: float, /, **labels: str) -> None:
        self.observed[_series(name, labels, "histogram")].append(value)

    def replace(self, name: MetricName, series: Mapping[tuple[str, ...], float], /) -> None:
        assert METRICS[name].kind == "gauge", name
        assert all(len(values) == len(METRICS[name].labels) for values in series), name
        self.gauges[name] = dict(series)


def _series(name: MetricName, labels: Mapping[str, str], *kinds: Kind) -> Series:
    metric = METRICS[name]
    assert metric.kind in kinds, name
    assert labels.keys() == set(metric.labels), (name, labels)
    return name, tuple(labels[label] for label in metric.labels)
