"""`memostream doctor` at a broker that asks for a password, for TLS, or sends its clients elsewhere."""

import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from embedded import EmbeddedKafka
from schemas.settings import KafkaSettings
from streams.clients import admin
from tests.support.command_line import CommandLine
from tests.support.diagnosis import faults, only_fault

USER = "memo"
PASSWORD = "open sesame"
# A share of it is for the first handshake of a broker that has just started, on a busy machine.
TIMEOUT = ("--timeout-s", "60")


@dataclass(frozen=True)
class Listeners:
    """Addresses of one broker, by what they ask of a client."""

    plain: str
    password: str
    tls: str
    elsewhere: str
    authority: Path


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _certificate_of(authority: trustme.CA) -> bytes:
    made = authority.issue_cert("localhost", "127.0.0.1")
    # Brokers read a key in PKCS #8 only.
    key = serialization.load_pem_private_key(made.private_key_pem.bytes(), password=None)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem + b"".join(blob.bytes() for blob in made.cert_chain_pems)


@pytest.fixture(scope="module")
def listener_ports() -> list[int]:
    return free_ports(6)


@pytest.fixture
async def listeners(tmp_path: Path, listener_ports: list[int]) -> AsyncIterator[Listeners]:
    """A broker that creates topics by itself, with a listener for each way of asking."""
    plain, controller, password, tls, elsewhere, nowhere = (f"127.0.0.1:{port}" for port in listener_ports)
    named = {"PLAINTEXT": plain, "PASSWORD": password, "TLS": tls, "ELSEWHERE": elsewhere}
    protocols = {
        "PLAINTEXT": "PLAINTEXT",
        "CONTROLLER": "PLAINTEXT",
        "PASSWORD": "SASL_PLAINTEXT",
        "TLS": "SSL",
        "ELSEWHERE": "PLAINTEXT",
    }
    certificate = tmp_path / "broker.pem"
    authority = trustme.CA()
    certificate.write_bytes(_certificate_of(authority))
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "ports.json").write_text(str(listener_ports[:2]))
    broker = EmbeddedKafka(
        tmp_path / "broker",
        properties={
            "listeners": ",".join(f"{name}://{at}" for name, at in {**named, "CONTROLLER": controller}.items()),
            "advertised.listeners": ",".join(f"{name}://{at}" for name, at in {**named, "ELSEWHERE": nowhere}.items()),
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.password.plain.sasl.jaas.config": (
                f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
            ),
            "listener.name.tls.ssl.keystore.type": "PEM",
            "listener.name.tls.ssl.keystore.location": str(certificate),
            "auto.create.topics.enable": "true",
        },
    )
    await broker.start()
    yield Listeners(plain, password, tls, elsewhere, tmp_path / "authority.pem")
    await broker.stop()


def at(shell: CommandLine, address: str, **kafka: str) -> CommandLine:
    return shell.with_variables(
        MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS=address,
        **{f"MEMOSTREAM_KAFKA__{name.upper()}": value for name, value in kafka.items()},
    )


async def test_each_way_in_that_the_broker_does_not_open_is_named_with_its_fix(
    shell: CommandLine, listeners: Listeners
) -> None:
    credentials = {"security_protocol": "SASL_PLAINTEXT", "sasl_username": USER, "sasl_password": PASSWORD}

    fault = await only_fault(at(shell, listeners.password), *TIMEOUT)
    assert fault.found == f"{listeners.password} speaks SASL_PLAINTEXT, kafka.security_protocol is PLAINTEXT"
    assert fault.fix == (
        "set kafka.security_protocol to SASL_PLAINTEXT; set kafka.sasl_username and kafka.sasl_password"
    )

    fault = await only_fault(at(shell, listeners.password, **{**credentials, "sasl_password": "wrong one"}), *TIMEOUT)
    assert fault.found == f"{listeners.password} refuses the name or the password"
    assert fault.fix == "check kafka.sasl_username and kafka.sasl_password"

    fault = await only_fault(at(shell, listeners.password, **credentials, sasl_mechanism="SCRAM-SHA-512"), *TIMEOUT)
    assert fault.found == f"{listeners.password} offers PLAIN, kafka.sasl_mechanism is SCRAM-SHA-512"
    assert fault.fix == "set kafka.sasl_mechanism to PLAIN"

    fault = await only_fault(at(shell, listeners.tls), *TIMEOUT)
    assert fault.found == f"{listeners.tls} speaks SSL, kafka.security_protocol is PLAINTEXT"
    assert fault.fix == "set kafka.security_protocol to SSL"

    fault = await only_fault(at(shell, listeners.tls, security_protocol="SSL"), *TIMEOUT)
    assert fault.found.startswith(f"the certificate of {listeners.tls} is not trusted: ")
    assert fault.fix.startswith("set kafka.ssl_ca_file")

    fault = await only_fault(at(shell, listeners.elsewhere), *TIMEOUT)
    assert "wants its clients to go on at 127.0.0.1:" in fault.found
    assert "advertised.listeners" in fault.fix

    for right in (
        at(shell, listeners.password, **credentials),
        at(shell, listeners.tls, security_protocol="SSL", ssl_ca_file=str(listeners.authority)),
    ):
        found = await faults(right, *TIMEOUT)
        assert [fault.check for fault in found] == ["broker-settings", "topics"], found
        assert "creates topics by itself" in found[0].found

    async with admin(KafkaSettings(bootstrap_servers=listeners.plain)) as client:
        # Not even the topic of offsets: doctor looks only.
        assert await client.list_topics() == []
