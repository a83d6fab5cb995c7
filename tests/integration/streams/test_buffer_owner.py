"""One owner of a partition after another: the later fences the former before it looks at any state."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from schemas.errors import LeaseLost
from schemas.settings import KafkaSettings, Settings
from streams.buffer_codec import HeadKey, encode_entry, encode_head, entry_key_bytes, head_key_bytes
from streams.buffer_owner import BufferOwner
from streams.buffer_store import MemoryPartitionStore, PartitionStore, RocksPartitionStore
from streams.topics import Topics, ensure_topics
from streams.transactions import PartitionTransactions
from streams.windowing import add
from tests.support.buffer_step import START_MS, context, unit
from tests.support.buffer_worker import read_all, worker_settings


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str) -> Settings:
    made = worker_settings(kafka_bootstrap, topic_prefix, partitions=1)
    await ensure_topics(made.kafka, made.buffer)
    return made


@pytest.fixture
async def former(settings: Settings) -> AsyncIterator[PartitionTransactions]:
    transactions = transactions_of(settings.kafka)
    await transactions.open()
    yield transactions
    await transactions.close()


def transactions_of(kafka: KafkaSettings) -> PartitionTransactions:
    """Those of the only partition."""
    topics = Topics(kafka.topic_prefix)
    source, changelog = TopicPartition(topics.chat_messages, 0), TopicPartition(topics.buffer_changelog, 0)
    identifier = topics.buffer_transactional_id(0)
    return PartitionTransactions(kafka, topics, source, topics.buffer_group, identifier, changelog)


def buffer_of(user_id: str) -> dict[bytes, bytes | None]:
    """Changelog records of a user with one buffered blob."""
    key = HeadKey("default", user_id, "chat")
    held = unit(f"blob of {user_id}")
    return {
        entry_key_bytes(key, 0): encode_entry(held),
        head_key_bytes(key): encode_head(add(None, held, START_MS, 100)),
    }


class WatchedOwner(BufferOwner):
    """Notes how the former owner fares that commits when this one has just read the changelog."""

    former: PartitionTransactions | None = None
    former_error: LeaseLost | None = None

    async def _catch_up(self) -> None:
        await super()._catch_up()
        if self.former is not None:
            try:
                await self.former.commit([], None, buffer_of("late"))
            except LeaseLost as error:
                self.former_error = error


def new_owner(settings: Settings, store: PartitionStore | None = None) -> WatchedOwner:
    def fail(*arguments: object) -> None:
        raise AssertionError(arguments)

    return WatchedOwner(settings.kafka, settings.buffer, context(), store or MemoryPartitionStore(), fail, fail)


def users_of(owner: BufferOwner) -> set[str]:
    return {key.user_id for key in owner._owned_state().heads}


async def changelog_keys(kafka: KafkaSettings) -> list[bytes]:
    return [record.key for record in await read_all(kafka, Topics(kafka.topic_prefix).buffer_changelog)]


async def test_a_former_owner_cannot_commit_behind_the_back_of_the_next(
    settings: Settings, former: PartitionTransactions
) -> None:
    await former.commit([], None, buffer_of("early"))
    owner = new_owner(settings)
    owner.former = former
    await owner.open()
    assert owner.former_error is not None
    assert users_of(owner) == {"early"}
    assert await changelog_keys(settings.kafka) == list(buffer_of("early"))
    await owner.close()


async def test_the_open_transaction_of_a_dead_owner_is_settled_and_does_not_count(
    settings: Settings, former: PartitionTransactions
) -> None:
    await former.commit([], None, buffer_of("early"))
    producer = former._producer
    await producer.begin_transaction()
    for key, value in buffer_of("never committed").items():
        await producer.send_and_wait(Topics(settings.kafka.topic_prefix).buffer_changelog, value, key=key, partition=0)
    owner = new_owner(settings)
    await owner.open()
    assert users_of(owner) == {"early"}
    await owner.close()


async def test_a_local_copy_is_brought_up_to_date_from_where_it_left_off(
    settings: Settings, former: PartitionTransactions, tmp_path: Path
) -> None:
    await former.commit([], None, buffer_of("early"))
    store = RocksPartitionStore(tmp_path / "partition-0")
    first = new_owner(settings, store)
    await first.open()
    await first.close()
    store.close()

    second = transactions_of(settings.kafka)
    await second.open()
    await second.commit([], None, {**dict.fromkeys(buffer_of("early")), **buffer_of("later")})
    await second.close()
    reopened = RocksPartitionStore(tmp_path / "partition-0")
    # Seen only where the changelog is not read from its beginning again.
    reopened.write(buffer_of("of this copy alone"), reopened.next_offset or 0)
    owner = new_owner(settings, reopened)
    await owner.open()
    assert users_of(owner) == {"later", "of this copy alone"}
    await owner.close()
    reopened.close()


async def test_a_local_copy_of_another_changelog_is_discarded(
    settings: Settings, former: PartitionTransactions
) -> None:
    await former.commit([], None, buffer_of("early"))
    store = MemoryPartitionStore()
    store.write(buffer_of("of a topic that was deleted"), 1_000_000)
    owner = new_owner(settings, store)
    await owner.open()
    assert users_of(owner) == {"early"}
    await owner.close()
