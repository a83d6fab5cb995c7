"""Dashboard and alert rules: every expression is PromQL, of metrics and labels that there are."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry, ProcessCollector

from schemas.metrics import METRICS, Metric
from tests.support.dockerfile import ROOT

DECLARED: Mapping[str, Metric] = {str(name): metric for name, metric in METRICS.items()}
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/memostream.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# Prometheus adds them to whatever it scrapes.
SCRAPED = {"job", "instance"}
SEVERITIES = {"info", "warning", "critical"}
# What Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "5m", "$job": "memostream"}
_RATES = {"rate", "increase", "irate"}


@dataclass(frozen=True)
class Expression:
    """One expression, and where it stands."""

    place: str
    text: str

    def __str__(self) -> str:
        return self.place


def _plain(text: str) -> str:
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    return text


EXPRESSIONS = [
    *(Expression(rule["alert"], rule["expr"]) for rule in RULES),
    *(
        Expression(f"{panel['title']} {target['refId']}", _plain(target["expr"]))
        for panel in PANELS
        for target in panel["targets"]
    ),
]


def nodes(expr: Any) -> Iterator[Any]:
    """An expression and all that it is made of."""
    yield expr
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        if (inner := getattr(expr, name, None)) is not None:
            yield from nodes(inner)
    for inner in getattr(expr, "args", None) or ():
        yield from nodes(inner)


def selectors(expr: Any) -> list[Any]:
    return [node for node in nodes(expr) if isinstance(node, promql_parser.VectorSelector)]


def process_metrics() -> set[str]:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return {sample.name for family in registry.collect() for sample in family.samples}


def declared(series: str) -> tuple[Metric, set[str]]:
    """The metric of a series, and the labels that the series has; a KeyError names what nobody counts."""
    metric = DECLARED.get(series)
    if metric is not None and metric.kind != "histogram":
        return metric, set(metric.labels)
    name, _, end = series.rpartition("_")
    metric = DECLARED[name]
    assert metric.kind == "histogram"
    assert end in ("bucket", "sum", "count"), series
    return metric, {*metric.labels, *(("le",) if end == "bucket" else ())}


def labels_of(expr: Any) -> set[str]:
    """All labels that the series of an expression have."""
    found = set(SCRAPED)
    for selector in selectors(expr):
        if selector.name not in process_metrics():
            found |= declared(selector.name)[1]
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_an_expression_is_promql_of_metrics_and_labels_that_there_are(expression: Expression) -> None:
    parsed = promql_parser.parse(expression.text)
    found = selectors(parsed)
    assert found
    assert len(re.findall(r"\b(?:memostream|process)_\w+(?=[{\[)\s]|$)", expression.text)) == len(found)
    for selector in found:
        known = labels_of(selector)
        for matcher in selector.matchers.matchers:
            assert matcher.name in known, (selector.name, matcher.name)
    for node in nodes(parsed):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) <= labels_of(node.expr), str(node)


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_rates_are_of_what_only_grows_and_nothing_else_is_shown_as_it_stands(expression: Expression) -> None:
    parsed = promql_parser.parse(expression.text)
    rated = {
        selector.name
        for node in nodes(parsed)
        if isinstance(node, promql_parser.Call) and node.func.name in _RATES
        for selector in selectors(node)
    }
    for selector in selectors(parsed):
        if selector.name in process_metrics():
            assert selector.name.endswith("_total") == (selector.name in rated)
        else:
            assert (declared(selector.name)[0].kind != "gauge") == (selector.name in rated), selector.name


def test_the_dashboard_shows_every_metric() -> None:
    shown = {
        name
        for panel in PANELS
        for target in panel["targets"]
        for selector in selectors(promql_parser.parse(_plain(target["expr"])))
        for name in DECLARED
        if selector.name in (name, f"{name}_bucket", f"{name}_sum", f"{name}_count")
    }
    assert set(DECLARED) - shown == set()


def test_panels_have_titles_of_their_own_legends_of_their_labels_and_do_not_overlap() -> None:
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    for panel in PANELS:
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert named <= labels_of(promql_parser.parse(_plain(target["expr"]))), panel["title"]


def test_an_alert_says_what_is_wrong_and_how_bad_it_is() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["alert"].startswith("Memostream")
        assert rule["labels"]["severity"] in SEVERITIES
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        if "for" in rule:
            assert promql_parser.parse_duration(rule["for"])
        # A label that an aggregation has taken away would be shown as nothing.
        kept = {
            label
            for node in nodes(promql_parser.parse(rule["expr"]))
            if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None
            for label in node.modifier.labels
        }
        for text in rule["annotations"].values():
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= kept, rule["alert"]


def test_every_alert_is_explained_on_the_page() -> None:
    page = (ROOT / "docs/how-to/metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\| `(Memostream\w+)` \|", page)) == {rule["alert"] for rule in RULES}
