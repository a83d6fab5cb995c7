"""The reference page of metrics, from their declarations."""

from collections.abc import Iterator
from typing import Final

from schemas.metrics import METRICS, MetricName

HEAD: Final = """\
<!-- generated: by `make reference` from schemas/metrics.py -->
# Metrics

Every metric of a worker (`worker.health_port`) and of a gateway, at `GET /metrics`, in Prometheus' text format. What to
do with them: [Watch it with Prometheus](../how-to/metrics.md). A series appears with its first event. Prometheus' usual
metrics of a process stand beside these, `process_resident_memory_bytes` and `process_cpu_seconds_total` among them.

No label holds the name of a user or a project, or anything that was said.
"""
# Headings, each with the first of its metrics.
PARTS: Final[dict[MetricName, str]] = {
    "memostream_consumer_lag_records": "Stages that read Kafka",
    "memostream_buffer_blobs": "Buffer",
    "memostream_extraction_open_windows": "Extraction",
    "memostream_llm_calls_total": "Models",
    "memostream_outbox_rows": "Outbox and relay",
    "memostream_http_requests_total": "Gateway",
    "memostream_stalled": "Process",
}


def metrics_page() -> str:
    return HEAD + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    for name, metric in METRICS.items():
        if name in PARTS:
            yield from ("", f"## {PARTS[name]}", "", "| metric | kind | labels | |", "|---|---|---|---|")
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{name}` | {metric.kind} | {labels} | {metric.help} |"
