"""A failed transaction loses the partition to a new producer; it does not end the worker."""

import pytest
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
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
        (InvalidProducerEpoch(), LeaseLost),
        (MessageSizeTooLargeError(), MessageSizeTooLargeError),
    ],
)
def test_what_a_new_producer_cures_is_no_fatal_error(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected), translated("committing"), failed_transactions():
        raise error
