"""A start waits for a broker or a database that is away: everything may come up, or be restarted, at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from aiokafka.errors import SaslAuthenticationFailed

from schemas.errors import ConfigurationError, RetryLater
from schemas.settings import KafkaSettings
from streams.listeners import refusal_of

RETRY_S: Final = 1.0
ASK_TIMEOUT_S: Final = 5.0

Result = TypeVar("Result")

log = structlog.get_logger()


async def patiently(work: Callable[[], Awaitable[Result]], timeout_s: float, retry_s: float = RETRY_S) -> Result:
    """The result of `work`, tried again while it raises RetryLater; its last one once `timeout_s` have passed."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while True:
        try:
            return await work()
        except RetryLater as error:
            if loop.time() >= deadline_s:
                raise
            log.warning("worker.waiting", reason=str(error))
            await asyncio.sleep(max(retry_s, error.delay_s))


async def check_login(kafka: KafkaSettings) -> None:
    """Raise ConfigurationError where a broker refuses our login.

    Clients take that for a broker that is away, and would be waited for. One that is away says nothing here.
    """
    if not kafka.security_protocol.startswith("SASL"):
        return
    error = await refusal_of(kafka, ASK_TIMEOUT_S)
    if isinstance(error, SaslAuthenticationFailed):
        raise ConfigurationError(
            "Kafka: the broker refuses the credentials; check kafka.sasl_username, kafka.sasl_password and "
            "kafka.sasl_mechanism"
        ) from error
