"""A failed transaction loses the partition to a new producer; it does not end the worker."""

import asyncio
import gc
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    UnknownError,
    UnknownProducerId,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from schemas.errors import LeaseLost, RetryLater
from schemas.settings import KafkaSettings
from streams.clients import TRANSACTION_RETRY_MS, new_producer, translated
from streams.raw_records import Outgoing
from streams.topics import Topics
from streams.transactions import PartitionTransactions, failed_transactions


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (IllegalOperation(), RetryLater),
        (AssertionError(), RetryLater),
        (InvalidTxnState(), RetryLater),
        (InvalidProducerIdMapping(), RetryLater),
        (KafkaTimeoutError(), RetryLater),
        (UnknownError(), RetryLater),
        (OutOfOrderSequenceNumber(), RetryLater),
        (UnknownProducerId(), RetryLater),
        (InvalidProducerEpoch(), LeaseLost),
        (MessageSizeTooLargeError(), MessageSizeTooLargeError),
    ],
)
def test_what_a_new_producer_cures_is_no_fatal_error(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected), translated("committing"), failed_transactions():
        raise error


def test_only_a_transactional_producer_asks_again_sooner_than_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr("streams.clients.AIOKafkaProducer", lambda **options: made.append(options))
    new_producer(KafkaSettings())
    new_producer(KafkaSettings(), transactional_id="buffer-0")
    assert [options.get("retry_backoff_ms") for options in made] == [None, TRANSACTION_RETRY_MS]


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (KafkaConnectionError("the connection is closed"), RetryLater),
        (ConnectionResetError(), RetryLater),
        (UnknownError(), RetryLater),
        (MessageSizeTooLargeError(), KafkaError),
        (TypeError("a defect"), KafkaError),
        (None, KafkaError),
    ],
)
def test_a_plain_error_of_the_producer_is_judged_by_what_it_hides(
    cause: Exception | None, expected: type[Exception]
) -> None:
    looked_up = KafkaError("cannot look up the coordinator")
    looked_up.__cause__ = cause
    with pytest.raises(expected), translated("committing"), failed_transactions():
        raise KafkaError("Unexpected error during batch delivery") from looked_up


class FencedProducer:
    """Takes the first batch, whose delivery then fails, and refuses the second."""

    def __init__(self) -> None:
        self.taken: list[asyncio.Future[RecordMetadata]] = []

    async def start(self) -> None: ...

    async def partitions_for(self, _topic: str) -> set[int]:
        return {0, 1}

    async def begin_transaction(self) -> None: ...

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(1024, 0, is_transactional=1)

    async def send_batch(self, *_: object, **__: object) -> "asyncio.Future[RecordMetadata]":
        if self.taken:
            raise ProducerFenced
        self.taken.append(asyncio.get_running_loop().create_future())
        self.taken[0].set_exception(ProducerFenced())
        return self.taken[0]


async def test_a_delivery_that_fails_before_anyone_waits_for_it_is_not_reported_as_never_retrieved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    producer = FencedProducer()
    monkeypatch.setattr("streams.transactions.new_producer", lambda *_, **__: producer)
    transactions = PartitionTransactions(KafkaSettings(), Topics(), TopicPartition("chat-messages", 0), "group", "id")
    await transactions.open()
    outgoing = [Outgoing("chat_messages", b"ann", b"{}", partition=number) for number in (0, 1)]
    with pytest.raises(LeaseLost):
        await transactions.commit(outgoing, None)
    await asyncio.sleep(0)
    producer.taken.clear()
    gc.collect()
    assert reported == []


class SilentProducer(FencedProducer):
    """Hears nothing of the offsets that it sends, as one whose client has lost its way."""

    async def send_offsets_to_transaction(self, *_: object) -> None:
        await asyncio.Event().wait()


async def test_a_commit_is_given_up_when_the_broker_has_given_up_its_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.transactions.new_producer", lambda *_, **__: SilentProducer())
    place = TopicPartition("chat-messages", 0)
    transactions = PartitionTransactions(KafkaSettings(transaction_timeout_s=0.01), Topics(), place, "group", "id")
    await transactions.open()
    with pytest.raises(RetryLater, match="committing a batch"):
        await transactions.commit([], 7)
