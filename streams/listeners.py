"""What a broker's addresses say for themselves, one connection at a time and without retries."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import IllegalSaslStateError, KafkaError
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from schemas.settings import KafkaSettings

# A mechanism that a broker may well not have: it answers with those that it has.
_ANY_MECHANISM: Final = "PLAIN"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Host and port of a broker."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a broker says of its cluster: the addresses at which it wants its clients to go on, by broker id."""

    advertised: dict[int, Address]


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a listener speaks; `mechanisms` are those of SASL, empty without SASL and None where it does not tell."""

    tls: bool
    mechanisms: tuple[str, ...] | None


def bootstrap_addresses(kafka: KafkaSettings) -> list[Address]:
    """The addresses of `kafka.bootstrap_servers`, in their order; raises ValueError if one is no address."""
    return [Address(host, port) for host, port, _ in collect_hosts(kafka.bootstrap_servers, randomize=False)]


async def ask_cluster(kafka: KafkaSettings, address: Address) -> Cluster:
    """Connect as our clients do and ask for the brokers; raises OSError, TimeoutError or KafkaError as it comes."""
    options = kafka.client_options()
    del options["bootstrap_servers"]
    async with _connection(address, **options) as connection:
        # No topics: to name one that is missing could create it.
        metadata = await connection.send(MetadataRequest([]))
        return Cluster({broker[0]: Address(broker[1], broker[2]) for broker in metadata.brokers})


async def refusal_of(kafka: KafkaSettings, timeout_s: float) -> BaseException | None:
    """None once a broker of `kafka.bootstrap_servers` lets us in, else why the last one that was asked did not."""
    error: BaseException | None = None
    try:
        async with asyncio.timeout(timeout_s):
            for address in bootstrap_addresses(kafka):
                try:
                    await ask_cluster(kafka, address)
                except (OSError, KafkaError) as refused:
                    error = refused
                else:
                    return None
    except TimeoutError as silent:
        error = silent
    return error


async def listen_to(address: Address, timeout_s: float) -> Spoken:
    """Find out what a listener speaks, whatever the settings say; sends no credentials."""
    tls = await _speaks_tls(address, timeout_s)
    options = {"security_protocol": "SSL", "ssl_context": _trusting_context()} if tls else {}
    try:
        async with _connection(address, request_timeout_ms=int(timeout_s * 1000), **options) as connection:
            answer = await connection.send(SaslHandShakeRequest(_ANY_MECHANISM))
    except (OSError, TimeoutError, KafkaError):
        return Spoken(tls, None)
    without_sasl = answer.error_code == IllegalSaslStateError.errno
    return Spoken(tls, () if without_sasl else tuple(sorted(answer.enabled_mechanisms)))


async def is_open(address: Address) -> bool:
    """Whether anything takes connections there; as long as the operating system lets it take."""
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return False
    await _closed(writer)
    return True


@asynccontextmanager
async def _connection(address: Address, **options: Any) -> AsyncIterator[Any]:
    connection = await create_conn(address.host, address.port, **options)
    try:
        yield connection
    finally:
        await connection.close()


async def _speaks_tls(address: Address, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(address.host, address.port, ssl=_trusting_context())
    except (OSError, TimeoutError):
        return False
    await _closed(writer)
    return True


def _trusting_context() -> ssl.SSLContext:
    """Looks only whether TLS is spoken, so it trusts any certificate; nothing secret is sent over it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
