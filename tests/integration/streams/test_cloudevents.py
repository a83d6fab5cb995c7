"""CloudEvents and traces from the producer to the change events, on a real broker and a real database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.structs import ConsumerRecord
from cloudevents.core.bindings import kafka as binding
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Producer
from pydantic import SecretStr

from cli.flushing import Flush, flush_user
from schemas import headers as names
from schemas.envelope import trace_of
from schemas.identity import cloudevent_blob_id
from schemas.settings import Settings, StorageSettings
from schemas.trace import Trace
from schemas.windows import Window, decode_window
from streams.clients import producer
from streams.topics import Topics, ensure_topics, partition_for
from streams.worker import run_worker
from tests.support.buffer_step import chat, forget
from tests.support.buffer_worker import read_all, until_all_read, worker_settings

PARTITIONS = 4
DEADLINE_S = 90.0
STATE = "vendor=t61rcWkgMzE"


def parent(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-01"


def data_of(text: str) -> dict[str, Any]:
    return {"blob_data": chat(text)["blob_data"]}


def event(identifier: str, user_id: str, data: Any) -> CloudEvent:
    attributes = {"id": identifier, "source": "/support", "type": "com.example.said", "subject": user_id}
    return CloudEvent(attributes=attributes, data=data)


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str, database_url: str, tmp_path: Path) -> Settings:
    buffering = worker_settings(
        kafka_bootstrap, topic_prefix, partitions=PARTITIONS, store="rocksdb", data_dir=tmp_path / "data"
    )
    await ensure_topics(buffering.kafka, buffering.buffer)
    return buffering.model_copy(update={"storage": StorageSettings(database_url=SecretStr(database_url))})


@asynccontextmanager
async def running_worker(settings: Settings) -> AsyncIterator[None]:
    """A worker of all roles; it must end well."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_worker(settings, stop=stop))
    try:
        yield
    finally:
        stop.set()
        assert await asyncio.wait_for(task, DEADLINE_S) == 0


async def send(settings: Settings, value: Any, user_id: str | None, **options: Any) -> None:
    raw = value if isinstance(value, bytes | None) else orjson.dumps(value)
    key = None if user_id is None else user_id.encode()
    async with producer(settings.kafka) as client:
        await client.send_and_wait(Topics(settings.kafka.topic_prefix).chat_messages, raw, key=key, **options)


async def changes_of(settings: Settings, users: set[str]) -> dict[str, list[ConsumerRecord]]:
    """The records of `profile-updated` by user, once each of the users has one."""
    topic = Topics(settings.kafka.topic_prefix).profile_updated
    async with asyncio.timeout(DEADLINE_S):
        while True:
            found: dict[str, list[ConsumerRecord]] = {}
            for record in await read_all(settings.kafka, topic):
                found.setdefault(orjson.loads(record.value)["user_id"], []).append(record)
            if users <= found.keys():
                return found
            await asyncio.sleep(0.2)


def city_in(change: ConsumerRecord) -> str:
    return str(orjson.loads(change.value)["after"]["content"])


async def flushed(settings: Settings, *users: str) -> None:
    """All that was sent of the users is in memory."""
    for user_id in users:
        await flush_user(settings, "default", user_id, Flush(timeout_s=DEADLINE_S, quiet=True))


async def units_by_user(settings: Settings) -> dict[str, list[tuple[str, Trace, Trace]]]:
    """Of each unit in the windows its blob's id, its trace and that of its window's headers."""
    found: dict[str, list[tuple[str, Trace, Trace]]] = {}
    for record in await read_all(settings.kafka, Topics(settings.kafka.topic_prefix).extraction_windows):
        window = decode_window(record.value)
        if isinstance(window, Window):
            headers = trace_of(tuple(record.headers))
            found.setdefault(window.user_id, []).extend((unit.blob_id, unit.trace, headers) for unit in window.units)
    return found


async def test_events_of_both_modes_become_memory_and_a_second_delivery_changes_nothing(settings: Settings) -> None:
    topics = Topics(settings.kafka.topic_prefix)
    messages = {
        "ann": binding.to_binary_event(event("e-1", "ann", data_of("I live in Bergen."))),
        "ben": binding.to_structured_event(event("e-2", "ben", data_of("I live in Leeds."))),
    }
    librdkafka = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers, "partitioner": "murmur2_random"})
    with_registry = b"\x00\x00\x00\x00\x07" + orjson.dumps(chat("I live in Oslo.", user_id="cid"))

    async with running_worker(settings):
        for _ in range(2):
            for user_id, message in messages.items():
                librdkafka.produce(topics.chat_messages, message.value, user_id, headers=dict(message.headers))
            assert librdkafka.flush(30) == 0
            await send(settings, with_registry, "cid")
            await flushed(settings, "ann", "ben", "cid")
        # A tombstone in binary mode, headers that no SDK would write, and an event of ours that somebody sent back.
        ours = (await changes_of(settings, {"ann", "ben", "cid"}))["ann"][0]
        await send(settings, None, "ann", headers=list(messages["ann"].headers.items()))
        for odd in ({"ce_id": None}, {"ce_type": b"\xff"}, {"ce_id": b"\x00" * 5000, "traceparent": b"\xff"}):
            headers: dict[str, str | bytes | None] = {**dict(messages["ann"].headers), **odd}
            librdkafka.produce(topics.chat_messages, messages["ann"].value, "ann", headers=headers)
        assert librdkafka.flush(30) == 0
        await send(settings, ours.value, "ann", headers=list(ours.headers))
        await flushed(settings, "ann")
        changes = await changes_of(settings, {"ann", "ben", "cid"})

    cities = {user_id: [city_in(record) for record in found] for user_id, found in changes.items()}
    assert cities == {"ann": ["Bergen"], "ben": ["Leeds"], "cid": ["Oslo"]}
    units = await units_by_user(settings)
    assert [blob_id for blob_id, _, _ in units["ann"]] == [
        *[cloudevent_blob_id("/support", "e-1")] * 2,
        cloudevent_blob_id("/support", "\x00" * 5000),
    ]
    assert [blob_id for blob_id, _, _ in units["ben"]] == [cloudevent_blob_id("/support", "e-2")] * 2
    letters = [dict(letter.headers) for letter in await read_all(settings.kafka, topics.dead_letters)]
    assert {letter[names.ERROR_REASON] for letter in letters} == {b"invalid-cloudevent"}
    assert [letter[names.ERROR_MESSAGE].partition(b":")[0] for letter in letters] == [b"id", b"type", b"type"]


async def test_a_trace_reaches_windows_and_change_events_also_from_a_wrong_partition(settings: Settings) -> None:
    topics = Topics(settings.kafka.topic_prefix)
    wrong = (partition_for(b"ann", PARTITIONS) + 1) % PARTITIONS
    first = [("traceparent", parent(1).encode()), ("tracestate", STATE.encode()), ("tenant", b"acme")]
    structured = binding.to_structured_event(event("e-2", "ben", data_of("I live in Leeds.")))
    traced = orjson.dumps({**orjson.loads(structured.value), "traceparent": parent(2)})

    async with running_worker(settings):
        await send(settings, chat("I live in Bergen.", user_id="ann"), None, partition=wrong, headers=first)
        await send(settings, traced, "ben", headers=list(structured.headers.items()))
        await until_all_read(settings.kafka)
    # Buffered, and loaded again by another worker.
    async with running_worker(settings):
        await flushed(settings, "ann", "ben")
        changes = await changes_of(settings, {"ann", "ben"})
        await send(settings, forget("ann"), "ann", headers=[("ce_traceparent", parent(3).encode())])
        await flushed(settings, "ann")
        async with asyncio.timeout(DEADLINE_S):
            while None not in [record.value for record in await read_all(settings.kafka, topics.profiles)]:
                await asyncio.sleep(0.2)

    ann, ben = Trace(parent(1), STATE), Trace(parent(2))
    units = await units_by_user(settings)
    assert [tuple(traces) for _, *traces in units["ann"]] == [(ann, ann)]
    assert [tuple(traces) for _, *traces in units["ben"]] == [(ben, ben)]
    published = [record for found in changes.values() for record in found]
    published += await read_all(settings.kafka, topics.event_updated)
    published += await read_all(settings.kafka, topics.profiles)
    expected = {(b"default/ann", ann), (b"default/ben", ben), (b"default/ann", Trace(parent(3)))}
    assert {(record.key, trace_of(tuple(record.headers))) for record in published} == expected
    assert not any(name == "tenant" for record in published for name, _ in record.headers)
    for record in published:
        check_is_cloudevent(record)


def check_is_cloudevent(record: ConsumerRecord) -> None:
    """What CloudEvents' own SDK reads in a record is what its headers say; it makes up what is missing."""
    headers = dict(record.headers)
    assert len(headers) == len(record.headers)
    assert {
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_time",
        "ce_subject",
        "content-type",
    } <= headers.keys()
    found = binding.from_binary_event(binding.KafkaMessage(headers, record.key, record.value or b""))
    assert isinstance(found, CloudEvent)
    assert (found.get_specversion(), found.get_datacontenttype()) == ("1.0", "application/json")
    assert (found.get_id(), found.get_source()) == (headers["ce_id"].decode(), "/memostream/default")
    assert f"default/{found.get_subject()}" == record.key.decode()
    assert found.get_attributes()["time"].utcoffset() == timedelta(0)
    assert found.get_data() == (None if record.value is None else orjson.loads(record.value))
