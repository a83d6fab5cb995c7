import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from embedded import EmbeddedAddresses, EmbeddedPostgres, embedded_services, read_addresses
from schemas.errors import ConfigurationError

_ROOT = Path(__file__).parents[3]
_TIMEOUT_S = 60

# What `memostream up` does, without the worker.
_HOLDER = """
import asyncio, sys
from pathlib import Path
from embedded import embedded_services

async def hold():
    async with embedded_services(Path(sys.argv[1])):
        print("up", flush=True)
        await asyncio.sleep(600)

try:
    asyncio.run(hold())
except KeyboardInterrupt:
    sys.exit(130)
"""


@contextlib.contextmanager
def _holder(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(data_dir)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


def _wait_until_gone(data_dir: Path) -> list[list[str]]:
    """Command lines that still name the folder; empty as soon as there are none."""
    deadline = time.monotonic() + _TIMEOUT_S
    while (left := _command_lines(data_dir)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _command_lines(data_dir: Path) -> list[list[str]]:
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if any(str(data_dir) in word for word in line)]


async def _write(addresses: EmbeddedAddresses) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=addresses.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=addresses.bootstrap_servers) as producer:
        await producer.send_and_wait("kept", b"a record")
    connection = await _connect(addresses)
    await connection.execute("CREATE TABLE kept AS SELECT 'a row' AS content")
    await connection.close()


async def _read(addresses: EmbeddedAddresses) -> tuple[bytes | None, str]:
    consumer = AIOKafkaConsumer(bootstrap_servers=addresses.bootstrap_servers)
    await consumer.start()
    partition = TopicPartition("kept", 0)
    consumer.assign([partition])
    await consumer.seek_to_beginning(partition)
    record = await asyncio.wait_for(consumer.getone(), _TIMEOUT_S)
    await consumer.stop()
    connection = await _connect(addresses)
    row = await connection.fetchval("SELECT content FROM kept")
    await connection.close()
    return record.value, row


async def _connect(addresses: EmbeddedAddresses) -> asyncpg.Connection:
    return await asyncpg.connect(addresses.database_url.replace("+asyncpg", ""))


async def test_data_and_addresses_survive_a_restart(tmp_path: Path) -> None:
    async with embedded_services(tmp_path) as first:
        await _write(first)
    assert _command_lines(tmp_path) == []

    async with embedded_services(tmp_path) as second:
        assert second == first
        assert await _read(second) == (b"a record", "a row")


def test_after_kill_9_nothing_is_left_and_the_data_is_there(tmp_path: Path) -> None:
    with _holder(tmp_path) as process:
        addresses = read_addresses(tmp_path)
        assert addresses is not None
        asyncio.run(_write(addresses))
        services = _command_lines(tmp_path)
        assert any("kafka.Kafka" in line for line in services)
        assert any(line[0].endswith("postgres") for line in services)

        process.kill()
        process.wait()

        assert read_addresses(tmp_path) is None
        assert _wait_until_gone(tmp_path) == []

    async def start_again() -> tuple[bytes | None, str]:
        async with embedded_services(tmp_path) as again:
            return await _read(again)

    assert asyncio.run(start_again()) == (b"a record", "a row")


def test_ctrl_c_stops_cleanly_and_a_second_start_meanwhile_says_who_runs(tmp_path: Path) -> None:
    async def start_second() -> None:
        async with embedded_services(tmp_path):
            pass

    with _holder(tmp_path) as process:
        with pytest.raises(ConfigurationError, match=f"in use by process {process.pid} "):
            asyncio.run(start_second())

        process.send_signal(signal.SIGINT)
        assert process.wait(_TIMEOUT_S) == 130

    assert _command_lines(tmp_path) == []
    assert (tmp_path / "kafka" / "data" / ".kafka_cleanshutdown").exists()
    assert "database system is shut down" in (tmp_path / "postgres" / "postgres.log").read_text()


async def test_the_start_after_a_kill_at_once_waits_for_the_old_processes(tmp_path: Path) -> None:
    with _holder(tmp_path) as process:
        process.kill()
        process.wait()
        async with embedded_services(tmp_path, kafka=False) as addresses:
            assert addresses.bootstrap_servers == ""
            connection = await _connect(addresses)
            assert await connection.fetchval("SELECT 1") == 1
            await connection.close()


async def test_a_server_that_was_killed_comes_back_at_the_same_address(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "deep" / ("long" * 25))
    await server.start()
    try:
        url = server.database_url()
        await server.create_database()
        await server.kill()
        assert server.pid is None

        await server.start()

        assert server.database_url() == url
        connection = await _connect(EmbeddedAddresses("", url))
        assert await connection.fetchval("SHOW listen_addresses") == ""
        await connection.execute("CREATE EXTENSION vector")
        await connection.close()
    finally:
        await server.stop()


async def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, settings={"no_such_setting": "1"})

    with pytest.raises(ConfigurationError, match="no_such_setting"):
        await server.start()

    assert _command_lines(tmp_path) == []
