"""The ingest role on a real broker: several sources of other shapes, partition counts and keys, read once."""

import asyncio
from typing import Any

import orjson
import pytest
from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.structs import ConsumerRecord

from schemas import headers as names
from schemas.errors import ConfigurationError
from schemas.mapping import IngestSettings
from schemas.settings import Settings, WorkerSettings
from schemas.windows import Window, decode_window
from streams.clients import admin, producer
from streams.ingest_sources import check_sources
from streams.offsets import end_offsets
from streams.topics import Topics, ensure_topics, partition_counts, partition_for
from streams.worker import run_worker
from tests.support.buffer_step import flush
from tests.support.buffer_worker import read_all, running_worker, until_all_read, worker_settings
from tests.support.sources import LINES, TICKETS, source, ticket

INGEST = frozenset({"ingest"})
PARTITIONS = 4


@pytest.fixture
def tickets(topic_prefix: str) -> str:
    return f"{topic_prefix}their.tickets"


@pytest.fixture
def lines(topic_prefix: str) -> str:
    return f"{topic_prefix}their.lines"


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str, tickets: str, lines: str) -> Settings:
    made = worker_settings(kafka_bootstrap, topic_prefix, partitions=PARTITIONS)
    await create(made, {tickets: 7, lines: 1})
    sources = (source(TICKETS, topic=tickets), source(LINES, topic=lines, user_id="key"))
    return made.model_copy(
        update={"ingest": IngestSettings(sources=sources), "worker": WorkerSettings(metadata_refresh_s=1.0)}
    )


async def create(settings: Settings, counts: dict[str, int]) -> None:
    async with admin(settings.kafka) as client:
        await client.create_topics([NewTopic(name, count, 1) for name, count in counts.items()])


async def send(settings: Settings, topic: str, *values: Any, **options: Any) -> None:
    async with producer(settings.kafka) as client:
        for value in values:
            encoded = value if isinstance(value, bytes) or value is None else orjson.dumps(value)
            await client.send_and_wait(topic, encoded, **options)


async def ingest_all(settings: Settings) -> None:
    """Run the role until every source is read."""
    async with running_worker(settings, INGEST):
        for each in settings.ingest.sources:
            await until_all_read(settings.kafka, source=each.topic)


async def arrived(settings: Settings) -> list[tuple[ConsumerRecord, dict[str, Any]]]:
    records = await read_all(settings.kafka, Topics(settings.kafka.topic_prefix).chat_messages)
    return [(record, orjson.loads(record.value)) for record in records]


def texts(document: dict[str, Any]) -> list[str]:
    return [message["content"] for message in document["blob_data"]["messages"]]


async def test_sources_of_different_shapes_and_partition_counts_end_under_the_users_key_on_the_users_partition(
    settings: Settings, tickets: str, lines: str
) -> None:
    for number in range(14):
        value = ticket(("customer", f"ticket {number}"), ("agent", "answer"), customer=f"u{number % 3}")
        await send(settings, tickets, value, partition=number % 7)
    for number in range(5):
        await send(settings, lines, {"text": f"line {number}"}, key=b"u1")
    await ingest_all(settings)
    found = await arrived(settings)
    assert len(found) == 19
    for record, document in found:
        assert record.key == document["user_id"].encode()
        assert record.partition == partition_for(record.key, PARTITIONS)
    said = {user: [t for _, d in found if d["user_id"] == user for t in texts(d)] for user in ("u0", "u1", "u2")}
    assert sorted(said["u0"]) == sorted([*(f"ticket {n}" for n in range(0, 14, 3)), *["answer"] * 5])
    assert [text for text in said["u1"] if text.startswith("line")] == [f"line {number}" for number in range(5)]
    assert await read_all(settings.kafka, Topics(settings.kafka.topic_prefix).dead_letters) == []


async def test_bad_records_are_parked_as_they_were_with_the_expression_and_later_ones_flow_on(
    settings: Settings, tickets: str
) -> None:
    bad = [b"no json", orjson.dumps(ticket(("customer", 5))), orjson.dumps({"ticket": {}})]
    await send(settings, tickets, *bad, None, key=b"their key", partition=6, headers=[("theirs", b"x")])
    await send(settings, tickets, ticket(("customer", "last")), partition=6)
    await ingest_all(settings)
    assert [texts(document) for _, document in await arrived(settings)] == [["last"]]
    letters = await read_all(settings.kafka, Topics(settings.kafka.topic_prefix).dead_letters)
    assert [(letter.key, letter.value) for letter in letters] == [(b"their key", value) for value in bad]
    described = [{name: value.decode() for name, value in letter.headers} for letter in letters]
    assert [
        (found["theirs"], found[names.ERROR_STAGE], found[names.ERROR_REASON], found.get(names.ERROR_EXPRESSION))
        for found in described
    ] == [
        ("x", "ingest", "invalid-json", None),
        ("x", "ingest", "mapping-failed", "message.body.text"),
        ("x", "ingest", "mapping-failed", "value.ticket.customer.id"),
    ]
    assert [(found[names.ERROR_TOPIC], found[names.ERROR_OFFSET]) for found in described] == [
        (tickets, str(offset)) for offset in range(3)
    ]


async def test_a_second_run_begins_where_the_first_one_ended(settings: Settings, lines: str) -> None:
    await send(settings, lines, {"text": "one"}, key=b"ann")
    await ingest_all(settings)
    await send(settings, lines, {"text": "two"}, key=b"ann")
    await ingest_all(settings)
    assert [texts(document) for _, document in await arrived(settings)] == [["one"], ["two"]]


async def test_records_of_an_aborted_transaction_of_theirs_are_never_read(settings: Settings, lines: str) -> None:
    async with producer(settings.kafka, transactional_id=f"{lines}-theirs") as client:
        for text, outcome in (("kept", "commit"), ("taken back", "abort"), ("kept too", "commit")):
            await client.begin_transaction()
            await client.send_and_wait(lines, orjson.dumps({"text": text}), key=b"ann")
            await (client.commit_transaction() if outcome == "commit" else client.abort_transaction())
    await ingest_all(settings)
    assert [texts(document) for _, document in await arrived(settings)] == [["kept"], ["kept too"]]


async def test_a_new_partition_of_a_source_is_read_from_its_beginning(settings: Settings, lines: str) -> None:
    async with running_worker(settings, INGEST):
        await send(settings, lines, {"text": "old"}, key=b"ann")
        await until_all_read(settings.kafka, source=lines)
        async with admin(settings.kafka) as client:
            await client.create_partitions({lines: NewPartitions(3)})
        for number in (1, 2):
            await until_partition(settings, lines, number)
            await send(settings, lines, {"text": f"new {number}"}, key=b"ann", partition=number)
        await until_all_read(settings.kafka, source=lines)
    assert sorted(texts(document)[0] for _, document in await arrived(settings)) == ["new 1", "new 2", "old"]


async def until_partition(settings: Settings, topic: str, number: int) -> None:
    async with asyncio.timeout(60), admin(settings.kafka) as client:
        while (await partition_counts(client, [topic]))[topic] <= number:
            await asyncio.sleep(0.1)


async def test_ingested_units_keep_both_positions_and_the_time_of_their_source(settings: Settings, lines: str) -> None:
    await send(settings, lines, {"text": "hello"}, key=b"ann", timestamp_ms=1_700_000_000_000)
    await ingest_all(settings)
    topics = Topics(settings.kafka.topic_prefix)
    await send(settings, topics.chat_messages, flush("ann"), key=b"ann")
    async with running_worker(settings):
        await until_all_read(settings.kafka)
    windows = [decode_window(record.value) for record in await read_all(settings.kafka, topics.extraction_windows)]
    (unit,) = [unit for window in windows if isinstance(window, Window) for unit in window.units]
    assert unit.position.topic == topics.chat_messages
    assert unit.origin is not None
    assert (unit.origin.topic, unit.origin.offset, unit.origin.timestamp_ms) == (lines, 0, 1_700_000_000_000)
    assert (unit.occurred_at_ms, unit.recorded_at_ms) == (1_700_000_000_000, 1_700_000_000_000)


async def test_a_source_that_does_not_exist_is_named_and_not_created(settings: Settings, topic_prefix: str) -> None:
    missing = f"{topic_prefix}missing"
    wrong = settings.model_copy(update={"ingest": IngestSettings(sources=(source(topic=missing),))})
    with pytest.raises(ConfigurationError, match=f"there is no topic {missing}"):
        await run_worker(wrong, INGEST)
    # The extraction role asks where sources end, and must not create them either.
    assert await end_offsets(settings.kafka, missing) == {}
    async with admin(settings.kafka) as client:
        assert missing not in await client.list_topics()


async def test_without_sources_the_role_waits_and_does_nothing(kafka_bootstrap: str, topic_prefix: str) -> None:
    made = worker_settings(kafka_bootstrap, topic_prefix)
    async with running_worker(made, INGEST) as worker:
        await asyncio.sleep(0.5)
        assert not worker.done()
    assert worker.result() == 0


@pytest.mark.parametrize("name", ["chat_messages", "dead_letters", "profiles", "profile_updated", "buffer_changelog"])
def test_a_topic_of_our_own_is_refused_as_a_source(topic_prefix: str, name: str) -> None:
    own = getattr(Topics(topic_prefix), name)
    settings = worker_settings("127.0.0.1:1", topic_prefix).model_copy(
        update={"ingest": IngestSettings(sources=(source(topic=own),))}
    )
    with pytest.raises(ConfigurationError, match=f"{own} is a topic of memostream's own"):
        check_sources(settings)


async def test_end_offsets_count_what_an_open_transaction_hides(settings: Settings, lines: str) -> None:
    await ensure_topics(settings.kafka, settings.buffer)
    async with producer(settings.kafka, transactional_id=f"{lines}-open") as client:
        await client.begin_transaction()
        await client.send_and_wait(lines, b"{}")
        assert await end_offsets(settings.kafka, lines) == {(lines, 0): 1}
        await client.abort_transaction()
