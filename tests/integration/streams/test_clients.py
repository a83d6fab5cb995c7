"""A client ends without a cancellation that nobody asked for, and without connections that stay open."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from schemas.settings import KafkaSettings
from streams.clients import consumer


@pytest.fixture
def kafka(kafka_bootstrap: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka_bootstrap)


def fetch_that_has_not_begun(client: AIOKafkaConsumer) -> None:
    """As the fetcher makes one just before the client is stopped."""
    fetcher: Any = client._fetcher
    fetcher._pending_tasks.add(asyncio.create_task(asyncio.Event().wait()))


async def test_a_fetch_that_had_not_begun_cancels_nobody(kafka: KafkaSettings) -> None:
    async with consumer(kafka) as client:
        fetch_that_has_not_begun(client)
    connections: Any = client._client
    assert not connections._conns


async def test_who_is_cancelled_while_a_client_stops_ends_there(kafka: KafkaSettings) -> None:
    opened = asyncio.Event()

    async def read() -> None:
        async with consumer(kafka) as client:
            fetch_that_has_not_begun(client)
            opened.set()
            await asyncio.Event().wait()

    reading = asyncio.create_task(read())
    await opened.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
