"""The relay between a real database and a real broker."""

import asyncio
import json
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from pydantic import SecretStr
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import LeaseLost, RetryLater
from schemas.settings import BufferSettings, KafkaSettings, RelaySettings, StorageSettings
from storage import leases
from storage.browsing import read_profile_entries
from storage.database import create_engine
from storage.errors import translated
from storage.outbox import OutboxRow, append_rows
from storage.tables import outbox, relay_leases, relays
from streams.clients import consumer
from streams.relay import Relay
from streams.relay_publisher import ShardPublisher
from streams.topics import Topics, ensure_topics
from tests.integration.storage.builders import NOW, outbox_rows, remember

LONG_LEASE = RelaySettings(shards=1, lease_s=600.0, poll_interval_s=0.2)
SHORT_LEASE = RelaySettings(shards=1, lease_s=1.5, poll_interval_s=0.2)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url), pool_size=20))
    yield engine
    await engine.dispose()


@pytest.fixture
async def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaSettings:
    settings = KafkaSettings(
        bootstrap_servers=kafka_bootstrap,
        topic_prefix=topic_prefix,
        partitions=2,
        request_timeout_s=10.0,
    )
    await ensure_topics(settings, BufferSettings())
    return settings


class GatedPublisher(ShardPublisher):
    """Stands still before it publishes, as a frozen process does."""

    def __init__(self, settings: KafkaSettings, shard: int) -> None:
        super().__init__(settings, shard)
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        self.reached.set()
        await self.gate.wait()
        try:
            await super().publish(rows)
        except LeaseLost as error:
            self.error = error
            raise


async def test_each_users_changes_are_published_in_the_order_of_seq_with_the_outbox_ids(
    engine: AsyncEngine, kafka: KafkaSettings
) -> None:
    for number in range(5):
        for user in ("ann", "bob", "cat"):
            await remember(engine, f"b{number}", f"company {number}", user_id=user)
    expected = await outbox_rows(engine)

    async with running(Relay(engine, kafka, RelaySettings(shards=4), "w1")):
        await _until_empty(engine)

    topics = Topics(kafka.topic_prefix)
    for topic, kind in ((topics.profile_updated, "profile-updated"), (topics.profiles, "profiles")):
        found: dict[str, list[str]] = defaultdict(list)
        for record in await read_all(kafka, topic):
            found[(record.key or b"").decode()].append(_header(record, "ce_id"))
        wanted: dict[str, list[str]] = defaultdict(list)
        for row in sorted(expected, key=lambda row: row.seq):
            if row.aggregate_type == kind:
                wanted[row.aggregate_id].append(str(row.id))
        assert found == wanted


async def test_rows_written_while_the_relay_runs_wake_it(engine: AsyncEngine, kafka: KafkaSettings) -> None:
    sleepy = RelaySettings(shards=2, poll_interval_s=3600.0)
    relay = Relay(engine, kafka, sleepy, "w1")
    async with running(relay):
        await _until(lambda: _equal(len(relay.shards), 2))
        for number in range(3):
            await remember(engine, f"b{number}", f"company {number}")
            await _until_empty(engine)


async def test_profiles_read_from_the_beginning_equals_postgres_for_users_of_one_id_in_two_projects(
    engine: AsyncEngine, kafka: KafkaSettings
) -> None:
    async with running(Relay(engine, kafka, RelaySettings(shards=4), "w1")):
        for number in range(4):
            await remember(engine, f"b{number}", f"one {number}", project_id="one")
            await remember(engine, f"b{number}", f"two {number}", project_id="two")
        await _until_empty(engine)

    cache: dict[str, dict[str, str]] = {}
    for record in await read_all(kafka, Topics(kafka.topic_prefix).profiles):
        state = json.loads(record.value or b"")
        cache[(record.key or b"").decode()] = {entry["id"]: entry["content"] for entry in state["profile"]}
    stored = {}
    async with engine.connect() as connection:
        for project in ("one", "two"):
            rows = await read_profile_entries(connection, project, "ann")
            stored[f"{project}/ann"] = {str(row.profile_id): row.content for row in rows}
    assert cache == stored
    assert [list(entries.values()) for entries in stored.values()] == [["one 3"], ["two 3"]]


async def test_a_frozen_relay_that_wakes_cannot_put_an_old_profile_over_a_newer_one(
    engine: AsyncEngine, kafka: KafkaSettings
) -> None:
    frozen: list[GatedPublisher] = []

    def freezing(settings: KafkaSettings, shard: int) -> ShardPublisher:
        frozen.append(GatedPublisher(settings, shard))
        return frozen[-1]

    await remember(engine, "b1", "old")
    first = Relay(engine, kafka, LONG_LEASE, "w1", new_publisher=freezing)
    async with running(first):
        await _until(lambda: _equal(bool(frozen), True))
        await frozen[0].reached.wait()
        await _expire_leases(engine)
        await remember(engine, "b2", "new")
        async with running(Relay(engine, kafka, SHORT_LEASE, "w2")):
            await _until_empty(engine)
            frozen[0].gate.set()
            await _until(lambda: _equal(first.shards, frozenset()))
    assert isinstance(frozen[0].error, LeaseLost)
    states = [json.loads(record.value or b"") for record in await _profiles(kafka)]
    assert [state["profile"][0]["content"] for state in states] == ["old", "new"]
    assert [state["revision"] for state in states] == [1, 2]


async def test_a_relay_killed_between_commit_and_delete_leaves_a_second_delivery_with_the_same_ids(
    engine: AsyncEngine, kafka: KafkaSettings
) -> None:
    await remember(engine, "b1", "Acme")
    rows = await outbox_rows(engine)
    publisher = ShardPublisher(kafka, 0)
    await publisher.open()
    await publisher.publish(rows)
    await publisher.close()

    async with running(Relay(engine, kafka, SHORT_LEASE, "w2")):
        await _until_empty(engine)

    ids = [_header(record, "ce_id") for record in await _profiles(kafka)]
    assert ids == [str(row.id) for row in rows if row.aggregate_type == "profiles"] * 2


async def test_what_a_killed_relay_had_not_committed_is_not_seen(engine: AsyncEngine, kafka: KafkaSettings) -> None:
    await remember(engine, "b1", "Acme")
    rows = await outbox_rows(engine)
    killed = ShardPublisher(kafka, 0)
    await killed.open()
    await killed._producer.begin_transaction()
    await killed._send_all(rows)

    async with running(Relay(engine, kafka, SHORT_LEASE, "w2")):
        await _until_empty(engine)
    await killed.close()

    assert len(await _profiles(kafka)) == 1


# A connection that aiokafka is making when it is cancelled is closed by the garbage collector, which warns.
@pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"
)
async def test_relays_that_are_cancelled_again_and_again_lose_nothing_and_end_on_the_newest_state(
    engine: AsyncEngine, kafka: KafkaSettings
) -> None:
    settings = RelaySettings(shards=2, lease_s=1.5, poll_interval_s=0.1, batch_rows=3)
    users = ("ann", "bob", "cat", "dan")

    async def write() -> None:
        for number in range(12):
            for user in users:
                await remember(engine, f"b{number}", f"company {number}", user_id=user)

    async def cancel_again_and_again() -> None:
        for number in range(8):
            task = asyncio.create_task(Relay(engine, kafka, settings, f"cancelled-{number}").run())
            await asyncio.sleep(0.4)
            task.cancel()
            await asyncio.wait([task])

    await asyncio.gather(write(), cancel_again_and_again())
    async with running(Relay(engine, kafka, settings, "last")):
        await _until_empty(engine)

    first_seen: dict[str, dict[str, str]] = defaultdict(dict)
    last_seen: dict[str, str] = {}
    for record in await _profiles(kafka):
        user, content = _header(record, "ce_subject"), json.loads(record.value or b"")["profile"][0]["content"]
        first_seen[user].setdefault(_header(record, "ce_id"), content)
        last_seen[user] = content
    for user in users:
        assert list(first_seen[user].values()) == [f"company {number}" for number in range(12)]
        assert last_seen[user] == "company 11"


async def test_shards_are_shared_by_two_relays_and_go_to_the_one_that_stays(
    engine: AsyncEngine, kafka: KafkaSettings
) -> None:
    settings = RelaySettings(shards=4, lease_s=1.5, poll_interval_s=0.2)
    first, second = (Relay(engine, kafka, settings, name) for name in ("w1", "w2"))
    async with running(first):
        await _until(lambda: _equal(len(first.shards), 4))
        async with running(second):
            await _until(lambda: _equal((len(first.shards), len(second.shards)), (2, 2)))
            assert first.shards | second.shards == {0, 1, 2, 3}
        await _until(lambda: _equal(len(first.shards), 4))


async def test_shards_that_are_given_back_are_taken_at_once(engine: AsyncEngine, kafka: KafkaSettings) -> None:
    minutes_between_rounds = RelaySettings(shards=4, lease_s=600.0)
    first, second = (Relay(engine, kafka, minutes_between_rounds, name) for name in ("w1", "w2"))
    async with AsyncExitStack() as stack:
        async with running(first):
            await _until(lambda: _equal(len(first.shards), 4))
            await stack.enter_async_context(running(second))
            await _until(lambda: _relays(engine, 2))
        await _until(lambda: _equal(len(second.shards), 4))


async def test_shards_of_a_killed_relay_are_taken_when_its_leases_end(
    engine: AsyncEngine, kafka: KafkaSettings
) -> None:
    async with engine.begin() as connection:
        await leases.check_in(connection, "killed", 4, 2.0)
        await leases.claim(connection, "killed", 4, 4, 2.0)
    relay = Relay(engine, kafka, RelaySettings(shards=4, lease_s=600.0), "w1")
    async with running(relay):
        await _until(lambda: _equal(len(relay.shards), 4))


async def test_a_relay_with_another_number_of_shards_waits_for_the_living_ones(
    engine: AsyncEngine,
) -> None:
    async with engine.begin() as connection:
        assert await leases.claim(connection, "w1", 4, 1, 600.0) != frozenset()
    async with engine.begin() as connection:
        assert await leases.claim(connection, "w2", 8, 8, 600.0) == frozenset()
    await _expire_leases(engine)
    async with engine.begin() as connection:
        assert await leases.claim(connection, "w2", 8, 8, 600.0) == frozenset(range(8))


async def test_concurrent_claims_give_each_shard_to_one_relay(engine: AsyncEngine) -> None:
    async def claim(owner: str) -> frozenset[int]:
        async with engine.begin() as connection:
            return await leases.claim(connection, owner, 16, 5, 600.0)

    claims = await asyncio.gather(*(claim(f"w{number}") for number in range(4)))
    taken = [shard for claimed in claims for shard in claimed]
    assert sorted(taken) == list(range(16))


async def test_an_expired_lease_is_not_held_and_not_renewed(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await leases.claim(connection, "w1", 1, 1, 600.0)
        assert await leases.holds(connection, "w1", 1, 0)
    await _expire_leases(engine)
    async with engine.begin() as connection:
        assert not await leases.holds(connection, "w1", 1, 0)
        assert (await leases.check_in(connection, "w1", 1, 600.0)).held == frozenset()


async def test_a_broker_that_is_away_is_waited_for(engine: AsyncEngine, kafka: KafkaSettings) -> None:
    class AwayAtFirst(ShardPublisher):
        tries = 0

        async def open(self) -> None:
            AwayAtFirst.tries += 1
            if AwayAtFirst.tries <= 2:
                raise RetryLater("Kafka, connecting: the broker is away")
            await super().open()

    await remember(engine, "b1", "Acme")
    async with running(Relay(engine, kafka, LONG_LEASE, "w1", new_publisher=AwayAtFirst)):
        await _until_empty(engine)
    assert AwayAtFirst.tries == 3


async def test_lost_database_connections_are_made_again(engine: AsyncEngine, kafka: KafkaSettings) -> None:
    async with running(Relay(engine, kafka, SHORT_LEASE, "w1")):
        await remember(engine, "b1", "Acme")
        await _until_empty(engine)
        async with engine.connect() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        await _remember_sometime(engine, "b2", "Bolt")
        await _until_empty(engine)


async def test_a_record_that_the_broker_refuses_holds_up_its_own_user_alone(
    engine: AsyncEngine, kafka: KafkaSettings
) -> None:
    for number in range(3):
        await remember(engine, f"b{number}", f"company {number}")
    async with engine.begin() as connection:
        await append_rows(connection, [_row("bob", 1, "x" * 3_000_000), _row("bob", 2, "small")])
    for number in range(3, 6):
        await remember(engine, f"b{number}", f"company {number}")

    async with running(Relay(engine, kafka, LONG_LEASE, "w1")):
        await _until(lambda: _outbox_users(engine, {"bob"}))

    assert [row.seq for row in await outbox_rows(engine)] == [1, 2]
    assert [json.loads(record.value or b"")["revision"] for record in await _profiles(kafka)] == list(range(1, 7))


async def test_a_tombstone_is_a_record_without_a_value(engine: AsyncEngine, kafka: KafkaSettings) -> None:
    async with engine.begin() as connection:
        await append_rows(connection, [_row("bob", 1, None)])
    async with running(Relay(engine, kafka, LONG_LEASE, "w1")):
        await _until_empty(engine)
    (record,) = await _profiles(kafka)
    assert (record.key, record.value) == (b"default/bob", None)


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    """Runs until the block ends, then stops gracefully; an error of the relay is the test's."""
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        relay.stop()
        await task


async def read_all(kafka: KafkaSettings, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
    """All committed records of a topic, each partition in order."""
    partitions = [TopicPartition(topic, number) for number in range(kafka.partitions)]
    # A commit returns before its markers are written; behind these ends, everything is decided.
    async with consumer(kafka, isolation_level="read_uncommitted") as client:
        ends = await client.end_offsets(partitions)
    async with consumer(kafka) as client:
        client.assign(partitions)
        await client.seek_to_beginning(*partitions)
        found: list[ConsumerRecord[bytes, bytes]] = []
        for partition in partitions:
            while await client.position(partition) < ends[partition]:
                batches = await client.getmany(partition, timeout_ms=200)
                found += [record for records in batches.values() for record in records]
        return found


async def _profiles(kafka: KafkaSettings) -> list[ConsumerRecord[bytes, bytes]]:
    return await read_all(kafka, Topics(kafka.topic_prefix).profiles)


def _header(record: ConsumerRecord[bytes, bytes], name: str) -> str:
    return str(dict(record.headers)[name], "utf-8")


def _row(user_id: str, seq: int, payload: str | None) -> OutboxRow:
    key = f"default/{user_id}"
    return OutboxRow(uuid.uuid4(), "profiles", key, "test", payload, {}, "default", user_id, seq, NOW)


async def _expire_leases(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(update(relay_leases).values(expires_at=func.now() - text("interval '1 second'")))


async def _outbox_users(engine: AsyncEngine, users: set[str]) -> bool:
    async with engine.connect() as connection:
        return set((await connection.execute(select(outbox.c.user_id))).scalars()) == users


async def _relays(engine: AsyncEngine, count: int) -> bool:
    async with engine.connect() as connection:
        return await connection.scalar(select(func.count()).select_from(relays)) == count


async def _remember_sometime(engine: AsyncEngine, blob_id: str, company: str) -> None:
    """As extraction would: a connection that is just being closed may be handed out once more."""
    async with asyncio.timeout(30):
        while True:
            try:
                with translated("remembering"):
                    await remember(engine, blob_id, company)
            except RetryLater:
                await asyncio.sleep(0.05)
            else:
                return


async def _until_empty(engine: AsyncEngine) -> None:
    await _until(lambda: _outbox_users(engine, set()))


async def _equal(one: Any, other: Any) -> bool:
    return bool(one == other)


async def _until(holds: Callable[[], Any]) -> None:
    """Polls; the test's own time limit ends it."""
    while not await holds():
        await asyncio.sleep(0.05)
