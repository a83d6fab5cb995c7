"""The table of metrics: every name in it, named and described as Prometheus wants it, without unbounded labels."""

import pytest

from schemas.metrics import METRICS, NAMES, MetricName

# What users choose, or what has no bound.
NEVER = {"user", "user_id", "project", "project_id", "id", "text", "message", "key", "path", "url", "detail"}


def test_every_name_is_declared_once() -> None:
    assert list(METRICS) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_tells_kind_and_unit(name: MetricName) -> None:
    metric = METRICS[name]
    assert name.startswith("memostream_")
    assert name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert not {"le", "quantile"} & set(metric.labels)
    assert list(metric.buckets) == sorted(metric.buckets)


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_is_described_and_no_label_holds_what_users_choose(name: MetricName) -> None:
    metric = METRICS[name]
    assert metric.help.endswith(".") or "; " in metric.help
    assert not NEVER & set(metric.labels)
