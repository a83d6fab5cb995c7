"""A client ends without a cancellation that nobody asked for, and without connections that stay open."""

import asyncio
from typing import Any

import pytest
import uvloop
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

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


def test_metadata_is_asked_for_again_after_a_connection_was_closed_on_uvloop(kafka: KafkaSettings) -> None:
    async def asked_over_a_closed_connection() -> bool:
        async with consumer(kafka) as client:
            connections: Any = client._client
            await connections.force_metadata_update()
            (connection,) = connections._conns.values()
            # As when the broker has gone, and the reader does not know yet.
            connection._writer.transport.abort()
            await asyncio.sleep(0)
            with pytest.raises(KafkaConnectionError):
                await connection.send(MetadataRequest([]))
            async with asyncio.timeout(10):
                return bool(await connections.force_metadata_update())

    assert uvloop.run(asked_over_a_closed_connection())


async def test_a_request_that_the_broker_does_not_know_is_no_lost_connection(kafka: KafkaSettings) -> None:
    async with consumer(kafka) as client:
        connections: Any = client._client
        await connections.force_metadata_update()
        (connection,) = connections._conns.values()
        connection._versions = {MetadataRequest.API_KEY: (99, 99)}
        with pytest.raises(NotImplementedError):
            await connection.send(MetadataRequest([]))
        assert connection.connected()
