"""A broker that asks for a name and a password: Faust, producers, consumers and admin clients all give them."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedded import EmbeddedKafka
from tests.support.command_line import CommandLine

USER = "memo"
PASSWORD = "open sesame"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def guarded_broker(service_folder: Path) -> AsyncIterator[str]:
    """Address of a listener with SASL, beside the plain one that the broker's own start-up check uses."""
    folder = service_folder / "guarded"
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
                f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
            ),
        },
    )
    await broker.start()
    yield address
    await broker.stop()


def shell(folder: Path, broker: str, database_url: str, prefix: str, password: str) -> CommandLine:
    return CommandLine.of(
        folder,
        kafka=broker,
        database_url=database_url,
        prefix=prefix,
        MEMOSTREAM_KAFKA__SECURITY_PROTOCOL="SASL_PLAINTEXT",
        MEMOSTREAM_KAFKA__SASL_USERNAME=USER,
        MEMOSTREAM_KAFKA__SASL_PASSWORD=password,
    )


async def test_the_whole_path_runs_on_a_broker_that_asks_for_a_password(
    tmp_path: Path, guarded_broker: str, database_url: str, topic_prefix: str
) -> None:
    allowed = shell(tmp_path, guarded_broker, database_url, topic_prefix, PASSWORD)
    with allowed.background("worker", until="worker.started") as worker:
        allowed.run("send", "--user", "ann", "My name is Ann")
        allowed.run("flush", "ann")
        entries = allowed.document("profile", "ann")["entries"]
        assert [(entry["topic"], entry["content"]) for entry in entries] == [("basic_info", "Ann")]
        assert allowed.document("audit")["counts"]["applied"] == 1
    assert PASSWORD not in worker.output()

    refused = shell(tmp_path, guarded_broker, database_url, topic_prefix, "wrong").run("worker", fails=True)
    assert "check kafka.bootstrap_servers and, where it asks for them, the credentials" in refused.stderr
    assert "wrong" not in refused.stderr
