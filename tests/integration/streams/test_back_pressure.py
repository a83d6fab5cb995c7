"""A model that hangs fills the queues up to their limits; the worker stays in its group and goes on where it was."""

import asyncio
from collections import defaultdict
from itertools import groupby

import httpx2
import orjson
from pydantic import SecretStr

from benchmarks.scripted_model import BASE_URL, MODEL, ScriptedModel
from schemas.settings import EmbeddingSettings, ExtractionSettings, LLMSettings, RelaySettings, Settings, WorkerSettings
from streams.clients import producer
from streams.topics import Topics, ensure_topics
from streams.worker import EXIT_OK, run_worker
from tests.conftest import EMBEDDING_DIMENSION
from tests.integration.streams.test_metrics import scraped, until
from tests.support.buffer_worker import STOP_TIMEOUT_S, read_all, worker_settings
from tests.support.extracting import chat_window
from tests.support.ports import free_port

ROLES = frozenset({"extraction", "relay"})
CONCURRENCY, PENDING, USERS, WINDOWS_OF_USER = 3, 6, 6, 8


class HangingModel(ScriptedModel):
    """Answers nobody before the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.asked = 0

    async def _handle(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        await self.gate.wait()
        return await super()._handle(request)


def settings_of(bootstrap: str, prefix: str, database_url: str, port: int) -> Settings:
    made = worker_settings(bootstrap, prefix, partitions=1, database_url=database_url)
    return made.model_copy(
        update={
            "extraction": ExtractionSettings(
                provider="openai",
                concurrency=CONCURRENCY,
                max_pending_windows=PENDING,
            ),
            "llm": LLMSettings(base_url=BASE_URL, api_key=SecretStr("sk"), model=MODEL),
            "embedding": EmbeddingSettings(enabled=False, dimension=EMBEDDING_DIMENSION),
            "relay": RelaySettings(shards=2),
            "worker": WorkerSettings(health_port=port),
        }
    )


async def test_a_model_that_hangs_longer_than_a_session_costs_no_rebalance_and_loses_no_order(
    kafka_bootstrap: str, topic_prefix: str, database_url: str
) -> None:
    port, model, topics = free_port(), HangingModel(), Topics(topic_prefix)
    settings = settings_of(kafka_bootstrap, topic_prefix, database_url, port)
    await ensure_topics(settings.kafka, settings.buffer)
    sent: dict[str, list[str]] = defaultdict(list)
    async with producer(settings.kafka) as client:
        for number in range(WINDOWS_OF_USER):
            for user_id in (f"u{user}" for user in range(USERS)):
                window = chat_window(f"{user_id}-{number}", user_id=user_id, offset=number)
                sent[user_id].append(str(window.window_id))
                value = window.model_dump_json().encode()
                await client.send_and_wait(topics.extraction_windows, value, key=user_id.encode())

    async def value_of(name: str) -> float:
        series = (await scraped(port)).get(name, [])
        return sum(value for labels, value in series if labels.get("role", "extraction") == "extraction")

    async def is_full() -> bool:
        return model.asked == CONCURRENCY and await value_of("memostream_extraction_open_windows") == PENDING

    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(settings, ROLES, stop, model.client()))
    try:
        await until(is_full)
        rebalances = await value_of("memostream_rebalances_total")
        await asyncio.sleep(1.5 * settings.kafka.session_timeout_s)
        assert await value_of("memostream_extraction_open_windows") == PENDING
        assert model.asked == CONCURRENCY
        assert not worker.done()
        model.gate.set()

        async def all_published() -> bool:
            return await published(settings, topics) == sent

        await until(all_published)
        assert await value_of("memostream_rebalances_total") == rebalances
    finally:
        model.gate.set()
        stop.set()
        assert await asyncio.wait_for(worker, STOP_TIMEOUT_S) == EXIT_OK
    assert await published(settings, topics) == sent


async def published(settings: Settings, topics: Topics) -> dict[str, list[str]]:
    """The windows of each user in the order in which their events were published; one extraction has several events."""
    found: dict[str, list[list[str]]] = defaultdict(list)
    for record in await read_all(settings.kafka, topics.event_updated):
        change = orjson.loads(record.value)
        found[change["user_id"]].append(change["source"]["window_ids"])
    return {
        user_id: [window_id for window_ids, _ in groupby(extractions) for window_id in window_ids]
        for user_id, extractions in found.items()
    }
