"""A real worker through all that is counted: what its page shows, and when it is not alive."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from schemas.budgets import BudgetLimits, BudgetSettings
from schemas.metrics import METRICS, Metric
from schemas.prices import ModelPrice, PriceSettings
from schemas.settings import (
    EmbeddingSettings,
    ExtractionSettings,
    IngestSettings,
    LLMSettings,
    RelaySettings,
    Settings,
    WorkerSettings,
)
from streams.clients import admin, producer
from streams.health import WorkerHealth
from streams.topics import Topics
from streams.transactions import PartitionTransactions
from streams.worker import ROLES
from tests.conftest import EMBEDDING_DIMENSION, plain_dsn
from tests.integration.streams.test_health import free_port
from tests.support.buffer_step import chat, flush
from tests.support.buffer_worker import ROLE, running_worker, worker_settings
from tests.support.scripted_openai import ScriptedOpenAI, unauthorized
from tests.support.sources import LINES, source

DEADLINE_S = 90.0
MODEL = "scripted"
DECLARED: dict[str, Metric] = {str(name): metric for name, metric in METRICS.items()}
# These are counted by the gateway.
OF_GATEWAY = {name for name in DECLARED if name.startswith(("memostream_http_", "memostream_change_streams"))}


def base_name(sample: str) -> str:
    """The declared name of a series: a histogram has three series for one."""
    for end in ("_bucket", "_sum", "_count"):
        if sample.removesuffix(end) in DECLARED:
            return sample.removesuffix(end)
    return sample


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/{path}") as answer:
        return answer.status, await answer.text()


async def scraped(port: int) -> dict[str, list[tuple[dict[str, str], float]]]:
    status, page = await get(port, "metrics")
    assert status == 200
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(base_name(sample.name), []).append((dict(sample.labels), sample.value))
    return found


async def until(holds: Callable[[], Any]) -> Any:
    """What the coroutine function returns, once that is true."""
    found = None
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not (found := await holds()):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError("it did not come true in time") from None
    return found


@asynccontextmanager
async def sending(settings: Settings) -> AsyncIterator[Callable[..., Any]]:
    async with producer(settings.kafka) as client:

        async def send(topic: str, value: Any, key: str | None = "ann", partition: int | None = None) -> None:
            raw = value if isinstance(value, bytes) else orjson.dumps(value)
            await client.send_and_wait(topic, raw, key=None if key is None else key.encode(), partition=partition)

        yield send


async def test_every_metric_of_a_worker_is_on_its_page_after_what_it_counts_has_happened(
    kafka_bootstrap: str, database_url: str, topic_prefix: str
) -> None:
    port = free_port()
    lines = f"{topic_prefix}lines"
    async with ScriptedOpenAI(dimension=EMBEDDING_DIMENSION) as server:
        made = worker_settings(kafka_bootstrap, topic_prefix, partitions=2, database_url=database_url)
        settings = made.model_copy(
            update={
                "ingest": IngestSettings(sources=(source(LINES, topic=lines),)),
                "extraction": ExtractionSettings(provider="openai", retry_min_s=0.1, retry_max_s=0.2),
                "llm": LLMSettings(base_url=server.base_url, api_key=SecretStr("sk"), model=MODEL),
                "embedding": EmbeddingSettings(model="scripted-embed", dimension=EMBEDDING_DIMENSION),
                "prices": PriceSettings(
                    models={MODEL: ModelPrice(prompt_per_million=Decimal(1), completion_per_million=Decimal(1))}
                ),
                "budget": BudgetSettings(projects={"poor": BudgetLimits(user_tokens_a_day=1)}),
                "relay": RelaySettings(shards=2, lease_s=3.0),
                "worker": WorkerSettings(health_port=port),
            }
        )
        topics = Topics(topic_prefix)
        async with admin(settings.kafka) as client:
            await client.create_topics([NewTopic(lines, 1, 1)])
        async with running_worker(settings, ROLES), sending(settings) as send:
            # The first reply is none, the second call is refused, the third and fourth work.
            server.script("no JSON at all")
            server.fail("extract", unauthorized())
            await send(topics.chat_messages, chat("fact contact_info/city: Bergen", id="b1", user_id="ann"))
            await send(topics.chat_messages, chat("fact contact_info/city: Bergen", id="b1", user_id="ann"))
            await send(topics.chat_messages, b"no JSON")
            for partition in (0, 1):
                # On one of the two it is wrong.
                await send(topics.chat_messages, chat("hello", user_id="bea"), key=None, partition=partition)
            await send(lines, {"user": "cyd", "text": "fact contact_info/city: Oslo"})
            await send(topics.chat_messages, flush(user_id="ann"))
            # A budget of one token lets one window through.
            for text in ("fact contact_info/city: Rome", "fact contact_info/city: Paris"):
                await send(topics.chat_messages, chat(text, user_id="dan", project_id="poor"), key="dan")
                await send(topics.chat_messages, flush(user_id="dan", project_id="poor"), key="dan")
                await asyncio.sleep(1.0)

            async def shows(name: str) -> bool:
                return name in await scraped(port)

            await until(lambda: shows("memostream_published_rows_total"))
            # Now no change fits, and then another relay has a shard.
            async with admin(settings.kafka) as client:
                small = {"max.message.bytes": "200"}
                await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topics.profile_updated, small)])
            await send(topics.chat_messages, chat("fact work/title: baker", user_id="ann"))
            await send(topics.chat_messages, flush(user_id="ann"))
            await until(lambda: shows("memostream_relay_refused_rows_total"))
            connection = await asyncpg.connect(plain_dsn(database_url))
            await connection.execute("UPDATE relay_leases SET owner = 'another'")
            await connection.close()

            async def missing() -> set[str]:
                return set(DECLARED) - OF_GATEWAY - (await scraped(port)).keys()

            try:
                await until(lambda: _not(missing))
            except AssertionError:
                raise AssertionError(f"never counted: {sorted(await missing())}") from None
            found = await scraped(port)
            for name, samples in found.items():
                if name in DECLARED:
                    for labels, _ in samples:
                        assert labels.keys() - {"le"} == set(DECLARED[name].labels), name
            assert not OF_GATEWAY & found.keys()
            assert ({"stage": "buffer", "outcome": "duplicate"}, 1.0) in found["memostream_records_total"]
            assert ({"stage": "buffer", "reason": "invalid-json"}, 1.0) in found["memostream_dead_letters_total"]
            assert ({"budget": "user_tokens_a_day"}, 1.0) in found["memostream_budget_reached_total"]
            assert ({"reason": "budget"}, 2.0) in found["memostream_held_windows"]
            assert all(value == 0 for _, value in found["memostream_stalled"])
            read = {labels["topic"] for labels, _ in found["memostream_consumer_lag_records"]}
            assert read == {lines, topics.chat_messages, topics.extraction_windows}
            page = (await get(port, "metrics"))[1]
            for private in ("ann", "poor", "Bergen", "baker"):
                assert f'"{private}"' not in page


async def _not(missing: Callable[[], Any]) -> bool:
    return not await missing()


async def test_a_worker_whose_buffer_stands_still_is_not_alive_until_it_moves(
    kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    made = worker_settings(kafka_bootstrap, topic_prefix, partitions=1)
    settings = made.model_copy(update={"worker": WorkerSettings(health_port=port, stalled_after_s=1.0)})
    commit, may_commit = PartitionTransactions.commit, asyncio.Event()

    async def hanging(self: PartitionTransactions, *arguments: Any) -> int | None:
        await may_commit.wait()
        return await commit(self, *arguments)

    async def alive() -> bool:
        return (await get(port, "livez"))[0] == 200

    monkeypatch.setattr(PartitionTransactions, "commit", hanging)
    async with running_worker(settings, ROLE), sending(settings) as send:
        await until(alive)
        await send(Topics(topic_prefix).chat_messages, chat("hello", user_id="ann"))

        async def dead() -> bool:
            return not await alive()

        await until(dead)
        assert orjson.loads((await get(port, "livez"))[1]) == {
            "live": False,
            "reasons": {"buffer": ["it has work and has made no progress for more than 1 s"]},
        }
        assert (await scraped(port))["memostream_stalled"] == [({"role": "buffer"}, 1.0)]
        may_commit.set()
        await until(alive)


def test_the_stalled_role_is_the_reason() -> None:
    health = WorkerHealth(["buffer"], lambda: {"buffer": "it stands still"})
    assert (health.live().is_well, health.live().reasons) == (False, {"buffer": ["it stands still"]})


async def test_a_worker_that_has_done_everything_has_no_lag_and_stays_alive(
    kafka_bootstrap: str, database_url: str, topic_prefix: str
) -> None:
    port = free_port()
    made = worker_settings(kafka_bootstrap, topic_prefix, partitions=1, database_url=database_url)
    settings = made.model_copy(update={"worker": WorkerSettings(health_port=port, stalled_after_s=2.0)})
    topics = Topics(topic_prefix)
    async with running_worker(settings, ROLES), sending(settings) as send:
        await send(topics.chat_messages, chat("I live in Bergen", user_id="ann"))
        await send(topics.chat_messages, flush(user_id="ann"))

        async def published() -> bool:
            return "memostream_published_rows_total" in await scraped(port)

        await until(published)
        # Longer than the answers of broker and database are remembered.
        await asyncio.sleep(6.0)
        found = await scraped(port)
        # The last record of each topic stands before the marker of its transaction.
        assert {value for _, value in found["memostream_consumer_lag_records"]} == {0.0}
        assert {value for _, value in found["memostream_stalled"]} == {0.0}
        assert (await get(port, "livez"))[0] == 200
