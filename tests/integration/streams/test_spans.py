"""Spans of a real worker from a produced record to its change event, and how they reach a collector."""

import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiokafka.structs import ConsumerRecord
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import SecretStr

from schemas.settings import EmbeddingSettings, ExtractionSettings, LLMSettings, Settings, WorkerSettings
from schemas.tracing import NOTHING
from schemas.windows import Window, decode_window
from streams.clients import producer
from streams.observing import create_tracer
from streams.topics import Topics
from streams.worker import ROLES
from tests.conftest import EMBEDDING_DIMENSION
from tests.support.buffer_step import chat, flush
from tests.support.buffer_worker import read_all, running_worker, worker_settings
from tests.support.scripted_openai import ScriptedOpenAI
from tests.support.spans import KeptSpans, attributes_of, linked, parent_id, span_id

DEADLINE_S = 90.0
USER = "user-7c1f"


def parent(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"


async def send(settings: Settings, value: dict[str, Any], traceparent: str | None = None) -> None:
    headers = [] if traceparent is None else [("traceparent", traceparent.encode())]
    topic = Topics(settings.kafka.topic_prefix).chat_messages
    async with producer(settings.kafka) as client:
        await client.send_and_wait(topic, orjson.dumps(value), key=USER.encode(), headers=headers)


async def changes(settings: Settings, count: int) -> list[ConsumerRecord]:
    """The records of `profile-updated`, once there are so many."""
    async with asyncio.timeout(DEADLINE_S):
        while len(found := await read_all(settings.kafka, Topics(settings.kafka.topic_prefix).profile_updated)) < count:
            await asyncio.sleep(0.1)
    return found


async def test_spans_lead_from_a_produced_record_to_its_change_event_and_are_sent_when_the_worker_stops(
    kafka_bootstrap: str, database_url: str, topic_prefix: str
) -> None:
    spans = KeptSpans(at_close=True)
    async with ScriptedOpenAI(dimension=EMBEDDING_DIMENSION) as server:
        made = worker_settings(kafka_bootstrap, topic_prefix, partitions=1, database_url=database_url)
        settings = made.model_copy(
            update={
                "extraction": ExtractionSettings(provider="openai"),
                "llm": LLMSettings(base_url=server.base_url, api_key=SecretStr("sk-secret"), model="scripted"),
                "embedding": EmbeddingSettings(model="scripted-embed", dimension=EMBEDDING_DIMENSION),
            }
        )
        topics = Topics(topic_prefix)
        async with running_worker(settings, ROLES, spans.tracer):
            await send(settings, chat("fact contact_info/city: Bergen", "event: moved", user_id=USER), parent(1))
            await send(settings, chat("fact work/title: baker", user_id=USER), parent(2))
            await send(settings, flush(user_id=USER), parent(3))
            published = await changes(settings, 2)
            windows = [
                decode_window(record.value) for record in await read_all(settings.kafka, topics.extraction_windows)
            ]
            assert list(spans.ended) == []

    buffered = spans.named(f"process {topics.chat_messages}")
    assert linked(buffered) == [parent(1), parent(2), parent(3)]
    (extracted,) = spans.named(f"process {topics.extraction_windows}")
    assert linked(extracted) == [parent(1), parent(2)]
    (window,) = [window for window in windows if isinstance(window, Window)]
    attributes = attributes_of(extracted)
    assert attributes["memostream.window_ids"] == (str(window.window_id),)
    assert (attributes["memostream.units"], attributes["memostream.outcome"]) == (2, "applied")
    children = [span for span in spans.ended if parent_id(span) == span_id(extracted)]
    assert {span.name for span in children} == {"chat scripted", "embeddings scripted-embed", "postgresql transaction"}
    (transaction,) = spans.named("postgresql transaction")
    assert attributes_of(transaction)["memostream.changes"] == 2
    # The subscriber goes on with the producer's trace, as without spans; that of the relay leads to the same.
    given = {
        orjson.loads(record.value)["after"]["content"]: dict(record.headers)["traceparent"] for record in published
    }
    assert given == {"Bergen": parent(1).encode(), "baker": parent(2).encode()}
    sent = [span for span in spans.ended if attributes_of(span).get("messaging.operation.name") == "send"]
    assert set(linked(sent)) == {parent(1), parent(2)}
    assert sum(attributes_of(span).get("memostream.row.profile-updated", 0) for span in sent) == 2
    told = "".join(str(span.to_json()) for span in spans.ended)
    assert [word for word in (USER, "Bergen", "baker", "moved", "sk-secret") if word in told] == []


async def test_a_collector_is_sent_what_has_ended_at_the_address_of_the_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[ExportTraceServiceRequest] = []

    async def take(request: web.Request) -> web.Response:
        assert request.headers["x-tenant"] == "acme"
        taken.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response()

    application = web.Application()
    application.router.add_post("/v1/traces", take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme")
    try:
        tracer = create_tracer(WorkerSettings(traces=True), "worker-1")
        with tracer.span("client", "call", NOTHING):
            pass
        await tracer.close()
    finally:
        await runner.cleanup()
    (resource_spans,) = [found for request in taken for found in request.resource_spans]
    assert [span.name for scope in resource_spans.scope_spans for span in scope.spans] == ["call"]
    about = {item.key: item.value.string_value for item in resource_spans.resource.attributes}
    assert (about["service.name"], about["service.instance.id"]) == ("memostream-worker", "worker-1")
