"""Kafka clients with our settings: producers are idempotent with acks=all, consumers read committed records only."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    UnknownError,
)
from aiokafka.structs import RecordMetadata

from schemas.errors import ConfigurationError, LeaseLost, RetryLater
from schemas.settings import KafkaSettings
from schemas.windows import Position
from streams.closed_connections import expect_closed_connections
from streams.header_names import read_any_header_names

expect_closed_connections()

# Twice max_blob_bytes by default, and room for headers; the topic's own limit is what counts.
MAX_REQUEST_BYTES = 8 * (1 << 20)

Client = TypeVar("Client", AIOKafkaProducer, AIOKafkaConsumer)
LOG_APPEND_TIME = 1
# Whatever else is asked over the same connection waits behind a fetch that finds nothing.
FETCH_WAIT_MS = 100
# A coordinator that has not ended the transaction before asks for another try, and is ready within milliseconds.
TRANSACTION_RETRY_MS = 20
# Every topic of ours takes a batch of this size (schemas/settings.py, max_blob_bytes).
MAX_BATCH_BYTES = 256 * 1024


def new_producer(settings: KafkaSettings, **options: Any) -> AIOKafkaProducer:
    """A producer that is not yet started; `transactional_id` and other aiokafka options may be given."""
    if "transactional_id" in options:
        options = {"retry_backoff_ms": TRANSACTION_RETRY_MS, **options}
    return AIOKafkaProducer(
        **settings.client_options(),
        **{
            "acks": "all",
            "enable_idempotence": True,
            "max_request_size": MAX_REQUEST_BYTES,
            "max_batch_size": MAX_BATCH_BYTES,
            "transaction_timeout_ms": int(settings.transaction_timeout_s * 1000),
            **options,
        },
    )


def new_consumer(settings: KafkaSettings, *topics: str, **options: Any) -> AIOKafkaConsumer:
    """A consumer that is not yet started; without a group unless `group_id` is given, commits nothing by itself."""
    return read_any_header_names(
        AIOKafkaConsumer(
            *topics,
            **settings.client_options(),
            **{
                "group_id": None,
                "isolation_level": "read_committed",
                "enable_auto_commit": False,
                "auto_offset_reset": "earliest",
                "max_partition_fetch_bytes": 4 * (1 << 20),
                "fetch_max_wait_ms": FETCH_WAIT_MS,
                **options,
            },
        )
    )


def producer(settings: KafkaSettings, **options: Any) -> AbstractAsyncContextManager[AIOKafkaProducer]:
    """A started producer that is flushed and stopped on leaving; raises RetryLater if the broker is away."""
    return _started(new_producer(settings, **options))


def consumer(settings: KafkaSettings, *topics: str, **options: Any) -> AbstractAsyncContextManager[AIOKafkaConsumer]:
    """A started consumer that is stopped on leaving; raises RetryLater if the broker is away."""
    return _started(new_consumer(settings, *topics, **options))


@asynccontextmanager
async def admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client."""
    client = AIOKafkaAdminClient(**settings.client_options())
    try:
        with translated("connecting"):
            await client.start()
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def _started(client: Client) -> AsyncIterator[Client]:
    try:
        with translated("connecting"):
            await client.start()
        yield client
    finally:
        await stop_client(client)


async def stop_client(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Stop it, and close its connections whatever becomes of its tasks.

    aiokafka cancels its tasks and waits for them, and one that had not begun yet would cancel us.
    """
    try:
        await client.stop()
    except asyncio.CancelledError:
        if is_cancelled():
            raise
        connections = client.client if isinstance(client, AIOKafkaProducer) else client._client  # noqa: SLF001
        await connections.close()


def is_cancelled() -> bool:
    """Whether somebody cancels the task that runs, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def retrieved(delivery: "asyncio.Future[RecordMetadata]") -> "asyncio.Future[RecordMetadata]":
    """The delivery itself, whose error is not reported as never retrieved where nobody comes to wait for it."""

    def look(done: "asyncio.Future[RecordMetadata]") -> None:
        if not done.cancelled():
            done.exception()

    delivery.add_done_callback(look)
    return delivery


def position_of(metadata: RecordMetadata, sent_ms: int) -> Position:
    """Where a record lies that was sent with the timestamp `sent_ms`."""
    return Position(
        topic=metadata.topic,
        partition=metadata.partition,
        offset=metadata.offset,
        # aiokafka 0.14 tells the first record's for all of a batch, unless the broker sets it.
        timestamp_ms=metadata.timestamp if metadata.timestamp_type == LOG_APPEND_TIME else sent_ms,
    )


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Kafka's errors as ours: fenced is LeaseLost, access is ConfigurationError, what may pass is RetryLater.

    So is a cancellation that nobody has asked for, which is how aiokafka tells that a client has ended within.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise RetryLater(f"Kafka, {what}: the client has ended") from error
    except ProducerFenced as error:
        raise LeaseLost(f"Kafka, {what}: another producer has taken over") from error
    except (AuthenticationFailedError, TopicAuthorizationFailedError) as error:
        raise ConfigurationError(f"Kafka, {what}: access refused ({type(error).__name__}); check kafka.*") from error
    except (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, TimeoutError) as error:
        # aiokafka does not call its own time-out retriable.
        # A refused password, too, reaches us as a connection that fails.
        raise RetryLater(
            f"Kafka, {what}: the broker is away or refuses us ({type(error).__name__}); "
            "check kafka.bootstrap_servers and, where it asks for them, the credentials"
        ) from error
    except KafkaError as error:
        if _may_pass(error):
            raise RetryLater(f"Kafka, {what}: {type(error).__name__}") from error
        raise


def _may_pass(error: BaseException | None) -> bool:
    """aiokafka's producer makes a plain KafkaError of a connection that is cut while it looks for its coordinator, and
    of a broker that tells of trouble of its own (-1), as one does at a commit while its partitions get new leaders.
    """
    while error is not None and type(error) is KafkaError:
        error = error.__cause__
    if isinstance(error, OSError | TimeoutError | UnknownError):
        return True
    return isinstance(error, KafkaError) and bool(error.retriable)
