"""Faust on our transport, on a real broker."""

import asyncio
from typing import Any, cast

import faust
import pytest
from aiokafka.admin import NewTopic
from structlog.testing import capture_logs

from schemas.errors import RetryLater
from schemas.settings import KafkaSettings
from streams.clients import admin, producer
from streams.faust_app import FaustApp, new_app, raw_topic
from tests.support.ports import free_port

DEADLINE_S = 30.0


async def test_a_partition_without_a_commit_is_sought_back_to_its_beginning(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    kafka = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix)
    name = f"{topic_prefix}source"
    async with admin(kafka) as client:
        await client.create_topics([NewTopic(name, 1, 1)])
    app = new_app(f"{topic_prefix}app", kafka, 1)
    seen: list[bytes] = []
    arrived = asyncio.Event()

    @app.agent(raw_topic(app, name, 1), name="collect")
    async def collect(stream: Any) -> None:
        async for event in cast(faust.Stream[bytes], stream).noack().events():
            seen.append(event.message.value)
            arrived.set()

    async def saw(*values: bytes) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while tuple(seen) != values:
                arrived.clear()
                await arrived.wait()

    await app.start()
    try:
        async with producer(kafka) as sender:
            await sender.send_and_wait(name, b"first")
            await saw(b"first")
            # As Faust does when a rebalance begins, after it has dropped what it had fetched.
            await app.consumer.perform_seek()
            await sender.send_and_wait(name, b"second")
            await saw(b"first", b"first", b"second")
    finally:
        await app.stop()


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
