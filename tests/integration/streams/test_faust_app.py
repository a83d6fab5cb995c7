"""Faust on our transport, on a real broker."""

import asyncio
from typing import Any, cast

import faust
from aiokafka.admin import NewTopic

from schemas.settings import KafkaSettings
from streams.clients import admin, producer
from streams.faust_app import new_app, raw_topic

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
