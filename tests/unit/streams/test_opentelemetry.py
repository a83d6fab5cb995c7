"""Spans by OpenTelemetry's SDK: what is root, child and link, what is told of a failure, and how long a farewell is."""

import asyncio
import sys
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind as SdkKind
from opentelemetry.trace import StatusCode
from structlog.testing import capture_logs

from schemas.errors import ConfigurationError, RetryLater
from schemas.settings import WorkerSettings
from schemas.trace import Trace, valid_trace
from schemas.tracing import ERROR_TYPE, LINKS_LEFT_OUT, MAX_LINKS, NO_TRACER, NOTHING
from streams.observing import create_tracer
from streams.opentelemetry import OpenTelemetryTracer, context_of
from tests.support.spans import KeptSpans, linked, parent_id, span_id, trace_id


def parent(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"


def test_a_span_with_links_begins_a_trace_and_what_happens_in_it_is_its_child() -> None:
    spans = KeptSpans()
    traces = [Trace(parent(1)), Trace(parent(2)), Trace(parent(1))]
    with (
        spans.tracer.span("consumer", "outside", NOTHING, ()),
        spans.tracer.span("consumer", "batch", {"a": 1}, traces),
        spans.tracer.span("client", "call", NOTHING) as call,
    ):
        call.note({"memostream.outcome": "ok"})
    (call_span, batch, outside) = spans.ended
    assert linked(batch) == [parent(1), parent(2)]
    assert batch.parent is None
    assert (batch.kind, batch.attributes) == (SdkKind.CONSUMER, {"a": 1})
    assert trace_id(batch) != trace_id(outside)
    assert (parent_id(call_span), trace_id(call_span)) == (span_id(batch), trace_id(batch))
    assert (call_span.kind, call_span.attributes) == (SdkKind.CLIENT, {"memostream.outcome": "ok"})


async def test_what_runs_side_by_side_in_tasks_stays_with_what_began_it() -> None:
    spans = KeptSpans()

    async def call(name: str) -> None:
        with spans.tracer.span("client", name, NOTHING):
            await asyncio.sleep(0)

    async def batch(number: int) -> None:
        with spans.tracer.span("consumer", f"batch {number}", NOTHING, [Trace(parent(number))]):
            await asyncio.gather(call(f"{number}a"), call(f"{number}b"))

    await asyncio.gather(batch(1), batch(2))
    for number in (1, 2):
        (found,) = spans.named(f"batch {number}")
        calls = spans.named(f"{number}a") + spans.named(f"{number}b")
        assert [parent_id(span) for span in calls] == [span_id(found)] * 2


def test_links_have_a_limit_and_the_rest_is_counted() -> None:
    spans = KeptSpans()
    with spans.tracer.span("consumer", "batch", NOTHING, (Trace(parent(n)) for n in range(1, MAX_LINKS + 4))):
        pass
    (span,) = spans.ended
    assert linked(span) == [parent(n) for n in range(1, MAX_LINKS + 1)]
    assert span.attributes == {LINKS_LEFT_OUT: 3}


def test_a_failure_is_told_by_its_class_and_never_by_its_text() -> None:
    spans = KeptSpans()
    with pytest.raises(RetryLater), spans.tracer.span("client", "call", NOTHING):
        raise RetryLater("ann said that she lives in Bergen")
    (span,) = spans.ended
    assert span.attributes == {ERROR_TYPE: "RetryLater"}
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert span.events == ()
    assert "Bergen" not in str(span.to_json())


def test_a_link_holds_all_of_a_valid_trace_and_not_what_later_versions_append() -> None:
    found = context_of(valid_trace(f"cc-{7:032x}-{9:016x}-00-what-will-be", "vendor=a,other=b"))
    assert (found.trace_id, found.span_id, found.trace_flags, found.is_remote) == (7, 9, 0, True)
    assert dict(found.trace_state) == {"vendor": "a", "other": "b"}


def test_the_variables_name_the_service_and_the_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = KeptSpans()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "memory")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod")
    named = KeptSpans()
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    sampled = KeptSpans()
    for spans in (plain, named, sampled):
        with spans.tracer.span("client", "call", NOTHING):
            pass
    (first,), (second,) = plain.ended, named.ended
    assert first.resource.attributes["service.name"] == "memostream-worker"
    assert first.resource.attributes["service.instance.id"] == "test"
    assert second.resource.attributes["service.name"] == "memory"
    assert second.resource.attributes["deployment.environment.name"] == "prod"
    assert sampled.ended == ()


class HangingExporter(SpanExporter):
    """A collector that does not answer."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.released.wait()


async def test_a_collector_that_hangs_is_given_up_and_said_so() -> None:
    exporter = HangingExporter()
    tracer = OpenTelemetryTracer(SimpleSpanProcessor(exporter), "test", farewell_s=0.05)
    with capture_logs() as logs:
        await tracer.close()
    assert [entry["event"] for entry in logs] == ["traces.not_sent"]
    assert not exporter.released.is_set()
    exporter.released.set()


def test_nothing_is_imported_or_kept_unless_traces_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streams.opentelemetry", None)
    assert create_tracer(WorkerSettings(), "worker") is NO_TRACER
    with NO_TRACER.span("client", "call", NOTHING) as span:
        span.note({"a": 1})


def test_traces_without_the_extra_name_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "streams.opentelemetry")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(ConfigurationError) as raised:
        create_tracer(WorkerSettings(traces=True), "worker")
    assert "worker.traces: true" in str(raised.value)
    assert "pip install 'memostream[tracing]'" in str(raised.value)
