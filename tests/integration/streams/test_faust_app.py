"""Faust on our transport, on a real broker."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import faust
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic
from structlog.testing import capture_logs

from schemas.errors import RetryLater
from schemas.settings import KafkaSettings
from streams.clients import admin, producer
from streams.faust_app import FaustApp, new_app, raw_topic
from tests.support.ports import free_port

DEADLINE_S = 30.0


@dataclass
class Reader:
    """An app that remembers what it has read of a topic of one partition, and commits nothing."""

    app: FaustApp
    topic: str
    kafka: KafkaSettings
    seen: list[bytes] = field(default_factory=list)

    async def send(self, value: bytes) -> None:
        async with producer(self.kafka) as sender:
            await sender.send_and_wait(self.topic, value)

    async def saw(self, *values: bytes) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while tuple(self.seen) != values:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def reading(kafka: KafkaSettings) -> AsyncIterator[Reader]:
    """A reader that is not started, and stopped when the block ends."""
    topic = f"{kafka.topic_prefix}source"
    async with admin(kafka) as client:
        await client.create_topics([NewTopic(topic, 1, 1)])
    app = new_app(f"{kafka.topic_prefix}app", kafka, 1)
    reader = Reader(app, topic, kafka)

    @app.agent(raw_topic(app, topic, 1), name="collect")
    async def collect(stream: Any) -> None:
        async for event in cast(faust.Stream[bytes], stream).noack().events():
            reader.seen.append(event.message.value)

    try:
        yield reader
    finally:
        await app.stop()


async def test_a_partition_without_a_commit_is_sought_back_to_its_beginning(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    async with reading(KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix)) as reader:
        await reader.app.start()
        await reader.send(b"first")
        await reader.saw(b"first")
        # As Faust does when a rebalance begins, after it has dropped what it had fetched.
        await reader.app.consumer.perform_seek()
        await reader.send(b"second")
        await reader.saw(b"first", b"first", b"second")


async def test_partitions_are_taken_up_however_long_their_offsets_take(
    kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = AIOKafkaConsumer.committed
    kafka = KafkaSettings(
        bootstrap_servers=kafka_bootstrap,
        topic_prefix=topic_prefix,
        session_timeout_s=1.0,
        heartbeat_interval_s=0.2,
        request_timeout_s=1.0,
    )

    async def late(self: AIOKafkaConsumer, partition: TopicPartition) -> Any:
        # As with a broker that is away.
        await asyncio.sleep(2 * kafka.request_timeout_s)
        return await committed(self, partition)

    monkeypatch.setattr(AIOKafkaConsumer, "committed", late)
    async with reading(kafka) as reader:
        async with asyncio.timeout(DEADLINE_S):
            await reader.app.start()
        await reader.send(b"first")
        await reader.saw(b"first")


async def test_a_seek_that_another_has_overtaken_reads_nothing_again(
    kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = AIOKafkaConsumer.committed
    is_asked, may_go_on = threading.Event(), threading.Event()

    async def late(self: AIOKafkaConsumer, partition: TopicPartition) -> Any:
        if not is_asked.is_set():
            is_asked.set()
            while not may_go_on.is_set():
                await asyncio.sleep(0.02)
        return await committed(self, partition)

    async with reading(KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix)) as reader:
        await reader.app.start()
        await reader.send(b"first")
        await reader.saw(b"first")
        monkeypatch.setattr(AIOKafkaConsumer, "committed", late)
        overtaken = asyncio.create_task(reader.app.consumer.perform_seek())
        await asyncio.to_thread(is_asked.wait, DEADLINE_S)
        await reader.app.consumer.perform_seek()
        await reader.saw(b"first", b"first")
        may_go_on.set()
        await overtaken
        await reader.send(b"second")
        await reader.saw(b"first", b"first", b"second")


def app_without_broker(port: int, topic_prefix: str, start_timeout_s: float) -> FaustApp:
    app = new_app(f"{topic_prefix}app", KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"), 1)
    app.start_timeout_s = start_timeout_s
    return app


async def test_a_broker_that_went_away_before_the_app_connects_is_waited_for(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    port = free_port()
    app = app_without_broker(port, topic_prefix, DEADLINE_S)
    host, real_port = kafka_bootstrap.rsplit(":", 1)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(real_port))
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    with capture_logs() as logs:
        starting = asyncio.create_task(app.start())
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not [line for line in logs if line["event"] == "worker.waiting"]:
                    await asyncio.sleep(0.05)
                # It only tells where the broker is.
                async with await asyncio.start_server(forward, "127.0.0.1", port):
                    await starting
        finally:
            await app.stop()


async def test_an_app_without_a_broker_gives_up_after_its_time(topic_prefix: str) -> None:
    app = app_without_broker(free_port(), topic_prefix, 0.0)
    try:
        with pytest.raises(RetryLater, match="the broker is away"):
            await app.start()
    finally:
        await app.stop()


async def test_the_consumer_that_waits_for_its_broker_can_be_stopped(topic_prefix: str) -> None:
    app = app_without_broker(free_port(), topic_prefix, 3600.0)
    thread = cast(Any, app.consumer)._thread
    with capture_logs() as logs:
        starting = asyncio.create_task(thread.start())
        async with asyncio.timeout(DEADLINE_S):
            while not [line for line in logs if line["event"] == "worker.waiting"]:
                await asyncio.sleep(0.05)
            await thread.stop()
    starting.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
