"""A worker that is told to stop ends in its time: with everything frozen, in a rebalance, and while it starts."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from structlog.testing import capture_logs

from embedded import EmbeddedKafka, EmbeddedPostgres
from schemas.settings import RelaySettings, Settings, WorkerSettings
from streams.clients import consumer
from streams.stopping import Parts, stop_limit_s
from streams.topics import Topics, ensure_topics
from streams.worker import EXIT_OK, ROLES, run_worker
from tests.conftest import run_apart
from tests.support.buffer_worker import worker_settings

DEADLINE_S = 120.0
POLL_S = 0.05


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Processes that stand still while the block runs, with those that they have started."""
    processes = [found for pid in pids for found in (psutil.Process(pid), *psutil.Process(pid).children())]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


@pytest.fixture(scope="module")
def broker(service_folder: Path) -> Iterator[EmbeddedKafka]:
    """One that may be frozen."""
    own = EmbeddedKafka(service_folder / "own-broker")
    run_apart(own.start())
    yield own
    run_apart(own.stop())


@asynccontextmanager
async def own_database(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder)
    await server.start()
    try:
        await server.create_database()
        yield server
    finally:
        await server.stop()


def settings_for(bootstrap_servers: str, topic_prefix: str, database_url: str) -> Settings:
    settings = worker_settings(bootstrap_servers, topic_prefix, partitions=2, database_url=database_url)
    return settings.model_copy(
        update={"worker": WorkerSettings(shutdown_timeout_s=0.5), "relay": RelaySettings(shards=2)}
    )


async def ended(worker: "asyncio.Task[int]", stop: asyncio.Event, settings: Settings) -> int:
    """Its exit code; fails when it takes longer than is promised."""
    stop.set()
    async with asyncio.timeout(stop_limit_s(settings.worker)):
        return await worker


async def until_logged(logs: Sequence[Mapping[str, object]], event: str, count: int = 1) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while sum(line["event"] == event for line in logs) < count:
            await asyncio.sleep(POLL_S)


async def test_a_worker_stops_while_broker_and_database_are_frozen(
    broker: EmbeddedKafka, topic_prefix: str, tmp_path: Path
) -> None:
    async with own_database(tmp_path / "database") as database:
        settings = settings_for(broker.bootstrap_servers, topic_prefix, database.database_url())
        stop = asyncio.Event()
        with capture_logs() as logs:
            worker = asyncio.create_task(run_worker(settings, ROLES, stop))
            await until_logged(logs, "buffer.partition_opened", 2)
            await until_logged(logs, "relay.shard_opened", 2)
            assert broker.pid is not None
            assert database.pid is not None
            with frozen(broker.pid, database.pid):
                assert await ended(worker, stop, settings) == EXIT_OK
        assert "consumer.not_closed" in {line["event"] for line in logs}


async def test_a_worker_stops_while_it_waits_for_a_broker_to_start_with(
    broker: EmbeddedKafka, topic_prefix: str, database_url: str
) -> None:
    settings = settings_for(broker.bootstrap_servers, topic_prefix, database_url)
    stop, parts = asyncio.Event(), Parts()
    assert broker.pid is not None
    with frozen(broker.pid), capture_logs() as logs:
        worker = asyncio.create_task(run_worker(settings, ROLES, stop, parts=parts))
        await asyncio.sleep(10 * POLL_S)
        assert parts.running == ["worker"]
        assert await ended(worker, stop, settings) == EXIT_OK
    assert "worker.started" not in {line["event"] for line in logs}
    assert parts.running == []


class Dawdling(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member that gives its partitions up only when it is told to."""

    def __init__(self) -> None:
        self.is_asked, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        if revoked:
            self.is_asked.set()
            await self.may_go_on.wait()

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None: ...


async def test_a_worker_stops_in_a_rebalance_that_does_not_end(
    kafka_bootstrap: str, topic_prefix: str, database_url: str
) -> None:
    settings = settings_for(kafka_bootstrap, topic_prefix, database_url)
    topics, other, stop = Topics(topic_prefix), Dawdling(), asyncio.Event()
    await ensure_topics(settings.kafka, settings.buffer)
    options = {"group_id": topics.extraction_group, "partition_assignment_strategy": [RoundRobinPartitionAssignor]}
    async with consumer(settings.kafka, **options, heartbeat_interval_ms=200) as member:
        member.subscribe([topics.extraction_windows], listener=other)
        async with asyncio.timeout(DEADLINE_S):
            while len(member.assignment()) < settings.kafka.partitions:
                await asyncio.sleep(POLL_S)
        worker = asyncio.create_task(run_worker(settings, frozenset({"extraction"}), stop))
        await asyncio.wait_for(other.is_asked.wait(), DEADLINE_S)
        assert await ended(worker, stop, settings) == EXIT_OK
        other.may_go_on.set()
