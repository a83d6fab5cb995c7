"""A tracer of OpenTelemetry's SDK whose spans stay in memory."""

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streams.opentelemetry import OpenTelemetryTracer

HOUR_MS = 3_600_000.0


class KeptSpans:
    """`tracer` for what is tested; spans are here once they have ended, or `at_close` of the tracer."""

    def __init__(self, *, at_close: bool = False) -> None:
        self._exporter = InMemorySpanExporter()
        batched = BatchSpanProcessor(self._exporter, schedule_delay_millis=HOUR_MS) if at_close else None
        self.tracer = OpenTelemetryTracer(batched or SimpleSpanProcessor(self._exporter), "test")

    @property
    def ended(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """In the order of their ends."""
        return [span for span in self.ended if span.name == name]


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.trace_id)


def parent_id(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def linked(spans: ReadableSpan | Sequence[ReadableSpan]) -> list[str]:
    """The `traceparent` of each link, in order."""
    several = [spans] if isinstance(spans, ReadableSpan) else spans
    contexts = [link.context for span in several for link in span.links]
    return [f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}" for found in contexts]
