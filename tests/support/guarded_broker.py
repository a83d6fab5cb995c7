"""A broker with a listener that asks for a name and a password."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded import EmbeddedKafka
from tests.support.ports import free_port


@dataclass(frozen=True)
class GuardedBroker:
    """`address` is that of the listener with SASL; the broker may be stopped and started again."""

    address: str
    broker: EmbeddedKafka


@asynccontextmanager
async def guarded_broker(folder: Path, user: str, password: str) -> AsyncIterator[GuardedBroker]:
    """Beside the plain listener that the broker's own start-up check uses."""
    plain = EmbeddedKafka(folder)
    await plain.start()
    await plain.stop()
    (written,) = [file for file in folder.rglob("*.properties") if "listeners=" in file.read_text(encoding="latin-1")]
    lines = dict(line.split("=", 1) for line in written.read_text(encoding="latin-1").splitlines() if "=" in line)
    protocols = lines["listener.security.protocol.map"]
    address = f"127.0.0.1:{free_port()}"
    broker = EmbeddedKafka(
        folder,
        properties={
            "listeners": f"{lines['listeners']},SASL_PLAINTEXT://{address}",
            "advertised.listeners": f"{lines['advertised.listeners']},SASL_PLAINTEXT://{address}",
            "listener.security.protocol.map": f"{protocols},SASL_PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
                f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";'
            ),
        },
    )
    await broker.start()
    try:
        yield GuardedBroker(address, broker)
    finally:
        await broker.stop()
