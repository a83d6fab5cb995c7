"""Publishes batches of one relay shard, each as a Kafka transaction that fences every earlier owner of the shard."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalOperation,
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import RecordMetadata

from schemas.errors import ConfigurationError, MemostreamError, RetryLater
from schemas.settings import KafkaSettings
from storage.outbox import AggregateType, OutboxRow
from streams.clients import new_producer, retrieved, stop_client, translated
from streams.topics import Topics

# For `translated` to tell apart.
_TRANSLATED: Final = (ProducerFenced, AuthenticationFailedError, TopicAuthorizationFailedError)
_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError, RecordTooLargeError)


class RecordRefused(MemostreamError):
    """The broker will not take one of these records, now or later: it is larger than its topic allows."""


def relay_transactional_id(topics: Topics, shard: int) -> str:
    """The same for whoever owns the shard, or it would not fence."""
    return f"{topics.prefix}memostream-relay-{shard}"


class ShardPublisher:
    """One ownership of one shard. After any error it is of no more use: close it and open another."""

    def __init__(self, settings: KafkaSettings, shard: int) -> None:
        self._topics = Topics(settings.topic_prefix)
        self._timeout_s = settings.transaction_timeout_s
        self._producer: AIOKafkaProducer = new_producer(
            settings, transactional_id=relay_transactional_id(self._topics, shard)
        )

    async def open(self) -> None:
        """Fence the former owner and settle its open transaction: after the claim, before the outbox is read."""
        with _told_apart("opening a relay shard"):
            async with asyncio.timeout(self._timeout_s):
                await self._producer.start()

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Send rows in their order as one transaction.

        Raises LeaseLost if another relay has taken the shard, RecordRefused for one that is too large, and
        RetryLater when the broker is away; then the rows may or may not be published.
        """
        with _told_apart("publishing"):
            async with asyncio.timeout(self._timeout_s):
                await self._producer.begin_transaction()
                await self._send_all(rows)
                await self._producer.commit_transaction()

    async def close(self) -> None:
        """Stop the producer; the broker or the next owner aborts what is open."""
        await stop_client(self._producer)

    async def _send_all(self, rows: Sequence[OutboxRow]) -> None:
        sent: list[asyncio.Future[RecordMetadata]] = []
        try:
            for row in rows:
                delivery = await self._producer.send(
                    topic_of(self._topics, row.aggregate_type),
                    key=row.aggregate_id.encode(),
                    value=None if row.payload is None else row.payload.encode(),
                    headers=[(name, value.encode()) for name, value in row.headers.items()],
                )
                sent.append(retrieved(delivery))
        except IllegalOperation:
            # The transaction has failed already; the deliveries say why.
            await _all_delivered(sent)
            raise
        await _all_delivered(sent)


def topic_of(topics: Topics, aggregate_type: AggregateType) -> str:
    """Full name of the topic that an outbox row goes to."""
    match aggregate_type:
        case "profile-updated":
            return topics.profile_updated
        case "event-updated":
            return topics.event_updated
        case "profiles":
            return topics.profiles
        case "dead-letters":
            return topics.dead_letters


@contextmanager
def _told_apart(what: str) -> Iterator[None]:
    """Kafka's errors by what a relay must do; beyond `translated`, all that a new producer may cure."""
    with translated(what):
        try:
            yield
        except InvalidProducerEpoch as error:
            raise ProducerFenced from error
        except TransactionalIdAuthorizationFailed as error:
            raise ConfigurationError(f"Kafka, {what}: the transactional id is not allowed") from error
        except _TOO_LARGE as error:
            raise RecordRefused(f"Kafka, {what}: {type(error).__name__}") from error
        except KafkaError as error:
            if isinstance(error, _TRANSLATED):
                raise
            raise RetryLater(f"Kafka, {what}: {type(error).__name__}") from error
        except (IllegalOperation, AssertionError) as error:
            # aiokafka asserts its own states: the transaction failed between two calls.
            raise RetryLater(f"Kafka, {what}: the transaction failed") from error


async def _all_delivered(sent: Sequence["asyncio.Future[RecordMetadata]"]) -> None:
    if not sent:
        return
    await asyncio.wait(sent)
    # Fencing explains the other errors.
    errors = [error for error in (delivery.exception() for delivery in sent) if error is not None]
    fenced = [error for error in errors if isinstance(error, ProducerFenced | InvalidProducerEpoch)]
    for error in (*fenced, *errors):
        raise error
