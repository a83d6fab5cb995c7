"""The port Tracer with OpenTelemetry's SDK, sent by OTLP over HTTP; imported only where traces are wanted."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from itertools import islice
from typing import Final

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace import SpanKind as SdkKind

from schemas.trace import Trace
from schemas.tracing import ERROR_TYPE, LINKS_LEFT_OUT, MAX_LINKS, Attributes, SpanKind
from streams.stopping import FAREWELL_S

log = structlog.get_logger()

_KINDS: Final[dict[SpanKind, SdkKind]] = {
    "consumer": SdkKind.CONSUMER,
    "producer": SdkKind.PRODUCER,
    "client": SdkKind.CLIENT,
}


class OpenTelemetryTracer:
    """Spans of one process. Has a provider of its own; sampling and limits are those of the OTEL_* variables."""

    def __init__(self, processor: SpanProcessor, instance: str, farewell_s: float = FAREWELL_S) -> None:
        ours = {
            "service.name": "memostream-worker",
            "service.version": version("memostream"),
            "service.instance.id": instance,
        }
        # What the variables say goes before.
        resource = Resource.create(ours).merge(OTELResourceDetector().detect())
        # At exit it would wait half a minute for a collector that is away.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("memostream", version("memostream"))
        self._farewell_s = farewell_s

    @contextmanager
    def span(
        self, kind: SpanKind, name: str, attributes: Attributes, links: Iterable[Trace] | None = None
    ) -> Iterator["OpenTelemetrySpan"]:
        found = dict.fromkeys(links or ())
        with self._tracer.start_as_current_span(
            name,
            context=None if links is None else Context(),
            kind=_KINDS[kind],
            attributes=attributes,
            links=[Link(context_of(trace)) for trace in islice(found, MAX_LINKS)],
            # Both would show the exception's text, which may quote a record.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            if len(found) > MAX_LINKS:
                span.set_attribute(LINKS_LEFT_OUT, len(found) - MAX_LINKS)
            try:
                yield OpenTelemetrySpan(span)
            except BaseException as error:
                span.set_attribute(ERROR_TYPE, type(error).__name__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    async def close(self) -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            # The loop may have ended, for nobody waits longer than a farewell takes.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        # A thread of an executor would be waited for at the end of the process.
        threading.Thread(target=shut_down, name="traces-farewell", daemon=True).start()
        try:
            async with asyncio.timeout(self._farewell_s):
                await done.wait()
        except TimeoutError:
            log.warning("traces.not_sent")


class OpenTelemetrySpan:
    """The port Span."""

    def __init__(self, span: SdkSpan) -> None:
        self._span = span

    def note(self, attributes: Attributes, /) -> None:
        self._span.set_attributes(attributes)


def otlp_tracer(instance: str) -> OpenTelemetryTracer:
    """Sends in the background to the collector that the OTEL_* variables name; what it cannot take in time is lost."""
    return OpenTelemetryTracer(BatchSpanProcessor(OTLPSpanExporter()), instance)


def context_of(trace: Trace) -> SpanContext:
    """Of a valid trace. What a later version appended is not part of it."""
    _, trace_id, span_id, flags, *_ = str(trace.traceparent).split("-")
    state = TraceState.from_header([trace.tracestate]) if trace.tracestate else None
    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)), state)
