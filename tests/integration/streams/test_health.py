"""The probes of a real worker: what they answer, and why, while it starts, works, waits and stops."""

import asyncio
import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import NewTopic

from embedded import EmbeddedKafka, EmbeddedPostgres
from schemas.settings import KafkaSettings
from streams.clients import admin
from tests.support.command_line import DEADLINE_S, Background, CommandLine
from tests.support.scripted_openai import ScriptedOpenAI, unauthorized

KEY = "sk-do-not-show"
# Of the database of the tests.
DIMENSION = 256
Answer = tuple[int, dict[str, Any]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def probe(port: int, path: str = "readyz") -> Answer:
    """Status and document; status 0 where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}


def until(port: int, wanted: Callable[[Answer], bool]) -> Answer:
    deadline = time.monotonic() + DEADLINE_S
    while not wanted(found := probe(port)):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def is_ready(answer: Answer) -> bool:
    return answer[0] == 200


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def probed(tmp_path: Path, kafka_bootstrap: str, database_url: str, topic_prefix: str, port: int) -> CommandLine:
    return CommandLine.of(
        tmp_path,
        kafka=kafka_bootstrap,
        database_url=database_url,
        prefix=topic_prefix,
        MEMOSTREAM_WORKER__HEALTH_PORT=str(port),
    )


@pytest.fixture
def worker(probed: CommandLine) -> Iterator[Background]:
    with probed.background("worker", until="worker.started") as background:
        yield background


def test_a_worker_becomes_ready_and_ends_its_probes_when_it_is_told_to_stop(worker: Background, port: int) -> None:
    assert probe(port, "livez") == (200, {"live": True, "reasons": {}})
    assert until(port, is_ready)[1] == {"ready": True, "reasons": {}}
    assert worker.stop() == 0
    assert probe(port) == (0, {})


async def test_a_worker_without_a_partition_is_ready(
    probed: CommandLine, port: int, kafka_bootstrap: str, topic_prefix: str
) -> None:
    kafka = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix)
    async with admin(kafka) as client:
        fitting = {"max.message.bytes": str(4 << 20)}
        await client.create_topics([NewTopic(f"{topic_prefix}chat-messages", 1, 1, topic_configs=fitting)])
    other = free_port()
    with ExitStack() as stack:
        for shell in (probed, probed.with_variables(MEMOSTREAM_WORKER__HEALTH_PORT=str(other))):
            work = shell.background("worker", "--roles", "buffer,extraction", until="worker.started")
            await asyncio.to_thread(stack.enter_context, work)
        for each in (port, other):
            await asyncio.to_thread(until, each, is_ready)


async def test_a_key_that_the_endpoint_refuses_is_the_reason_until_it_is_taken(probed: CommandLine, port: int) -> None:
    async with ScriptedOpenAI(dimension=DIMENSION) as server:
        server.always = unauthorized()
        shell = CommandLine(
            probed.folder,
            {
                **probed.environment,
                "MEMOSTREAM_EXTRACTION__PROVIDER": "openai",
                "MEMOSTREAM_EXTRACTION__RETRY_MAX_S": "0.5",
                "MEMOSTREAM_WORKER__STALLED_AFTER_S": "1.5",
                "MEMOSTREAM_LLM__BASE_URL": server.base_url,
                "MEMOSTREAM_LLM__API_KEY": KEY,
                "MEMOSTREAM_EMBEDDING__DIMENSION": str(DIMENSION),
            },
        )
        with ExitStack() as stack:
            work = shell.background("worker", until="worker.started")
            await asyncio.to_thread(stack.enter_context, work)
            await asyncio.to_thread(until, port, is_ready)
            await asyncio.to_thread(shell.run, "send", "--user", "ann", "fact contact_info/city: Bergen")
            await asyncio.to_thread(shell.run, "flush", "ann", "--timeout-s", "1", fails=True)
            _, document = await asyncio.to_thread(until, port, lambda answer: answer[0] == 503)
            assert document["reasons"] == {
                "extraction": ["the endpoint refused the key (status 401): check llm.api_key"]
            }
            # A restart would mend nothing, however long the users wait.
            await asyncio.sleep(2.5)
            assert await asyncio.to_thread(probe, port, "livez") == (200, {"live": True, "reasons": {}})
            server.always = None
            await asyncio.to_thread(until, port, is_ready)


async def test_a_database_that_is_away_is_the_reason_until_it_is_back(
    probed: CommandLine, port: int, tmp_path: Path
) -> None:
    server = EmbeddedPostgres(tmp_path / "database")
    await server.start()
    try:
        await server.create_database()
        own = probed.with_variables(MEMOSTREAM_STORAGE__DATABASE_URL=server.database_url())
        with ExitStack() as stack:
            work = own.background("worker", until="worker.started")
            await asyncio.to_thread(stack.enter_context, work)
            await asyncio.to_thread(until, port, is_ready)
            await server.kill()
            _, document = await asyncio.to_thread(until, port, lambda answer: answer[0] == 503)
            (reason,) = document["reasons"]["database"]
            assert reason.startswith("Postgres does not answer (")
            await server.start()
            await asyncio.to_thread(until, port, is_ready)
    finally:
        await server.stop()


async def test_a_broker_that_is_away_is_the_reason_and_the_worker_stays_alive(
    probed: CommandLine, port: int, tmp_path: Path
) -> None:
    broker = EmbeddedKafka(tmp_path / "broker")
    await broker.start()
    try:
        own = probed.with_variables(MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS=broker.bootstrap_servers)
        with ExitStack() as stack:
            work = own.background("worker", "--roles", "buffer", until="worker.started")
            await asyncio.to_thread(stack.enter_context, work)
            await asyncio.to_thread(until, port, is_ready)
            await broker.kill()
            _, document = await asyncio.to_thread(until, port, lambda answer: "broker" in answer[1]["reasons"])
            assert document["reasons"]["broker"][0].startswith("no broker answers (")
            assert (await asyncio.to_thread(probe, port, "livez"))[0] == 200
            await broker.start()
            await asyncio.to_thread(until, port, is_ready)
    finally:
        await broker.stop()


def test_a_frozen_worker_answers_no_probe(worker: Background, port: int) -> None:
    until(port, is_ready)
    worker.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError), urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=1):
            pass
    finally:
        worker.process.send_signal(signal.SIGCONT)


def test_a_port_that_is_taken_is_named_before_the_worker_begins(probed: CommandLine, port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        done = probed.run("worker", fails=True)
    assert done.exit_code == 2
    assert f"worker.health_port {port} cannot be listened on at 127.0.0.1" in done.stderr
