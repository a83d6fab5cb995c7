"""A failed transaction loses the partition to a new producer; it does not end the worker."""

import pytest
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
    UnknownProducerId,
)

from schemas.errors import LeaseLost, RetryLater
from streams.clients import translated
from streams.transactions import failed_transactions


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (IllegalOperation(), RetryLater),
        (AssertionError(), RetryLater),
        (InvalidTxnState(), RetryLater),
        (InvalidProducerIdMapping(), RetryLater),
        (KafkaTimeoutError(), RetryLater),
        (OutOfOrderSequenceNumber(), RetryLater),
        (UnknownProducerId(), RetryLater),
        (InvalidProducerEpoch(), LeaseLost),
        (MessageSizeTooLargeError(), MessageSizeTooLargeError),
    ],
)
def test_what_a_new_producer_cures_is_no_fatal_error(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected), translated("committing"), failed_transactions():
        raise error


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (KafkaConnectionError("the connection is closed"), RetryLater),
        (ConnectionResetError(), RetryLater),
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
