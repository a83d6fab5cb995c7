"""Every record that a running system writes fits the published schemas of its topic."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from time import monotonic
from typing import Any

import orjson
from aiokafka import TopicPartition

from schemas.published_headers import KEYS
from schemas.settings import KafkaSettings
from streams.clients import consumer, producer
from streams.topics import partition_for
from tests.support.command_line import CommandLine
from tests.support.json_schema import faults, published

PARTITIONS = 2
DEADLINE_S = 60.0
TRACE = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
# What must have been written before the records are judged.
AWAITED = {
    "profile-updated c",
    "profile-updated u",
    "event-updated c",
    "profiles state",
    "profiles tombstone",
    "dead-letters invalid-record",
    "dead-letters unsupported-content",
    "extraction-windows window",
    "extraction-windows command",
    "chat-messages forwarded",
}

Records = Mapping[str, Collection[Any]]


def kind(topic: str, record: Any) -> str:
    """What a record is, as `AWAITED` names it."""
    headers = dict(record.headers)
    if topic == "dead-letters":
        return f"{topic} {headers['__memostream.errors.reason'].decode()}"
    if topic == "chat-messages":
        return f"{topic} {'forwarded' if '__memostream.origin.topic' in headers else 'sent'}"
    if record.value is None:
        return f"{topic} tombstone"
    value = orjson.loads(record.value)
    return f"{topic} {value.get('op') or value.get('kind') or 'state'}"


async def produce(kafka: KafkaSettings, topic: str, document: Mapping[str, Any], *, misplaced: bool = False) -> None:
    key = str(document["user_id"]).encode()
    partition = (partition_for(key, PARTITIONS) + misplaced) % PARTITIONS
    async with producer(kafka) as client:
        await client.send_and_wait(topic, orjson.dumps(document), key=key, partition=partition, headers=[TRACE])


async def read_until(kafka: KafkaSettings, prefix: str, awaited: Collection[str]) -> Records:
    """All records of the topics, by topic; raises AssertionError if what is awaited does not come."""
    positions = [TopicPartition(prefix + topic, number) for topic in KEYS for number in range(PARTITIONS)]
    found: dict[str, list[Any]] = defaultdict(list)
    missing = set(awaited)
    deadline = monotonic() + DEADLINE_S
    async with consumer(kafka) as client:
        client.assign(positions)
        await client.seek_to_beginning(*positions)
        while missing:
            assert monotonic() < deadline, f"did not come: {sorted(missing)}"
            for position, records in (await client.getmany(timeout_ms=500)).items():
                topic = position.topic.removeprefix(prefix)
                found[topic] += records
                missing -= {kind(topic, record) for record in records}
    return found


def chat(user_id: str, text: str, **envelope: Any) -> dict[str, Any]:
    return {"user_id": user_id, **envelope, "blob_data": {"messages": [{"role": "user", "content": text}]}}


async def test_every_record_that_is_written_fits_the_published_schemas(working: CommandLine) -> None:
    prefix = working.environment["MEMOSTREAM_KAFKA__TOPIC_PREFIX"]
    kafka = working.kafka
    topic = f"{prefix}chat-messages"
    await produce(kafka, topic, chat("ann", "My name is Ann and I live in Bergen.", created_at="2026-11-20T09:00:00Z"))
    await produce(kafka, topic, {"user_id": "ann", "blob_type": "image", "blob_data": {"url": "https://example.com"}})
    working.call("flush", "ann")
    await produce(kafka, topic, chat("ann", "I moved to Oslo last week.", created_at="2026-11-20T10:00:00Z"))
    await produce(kafka, topic, chat("ben", "I work as a nurse."), misplaced=True)
    await produce(kafka, topic, {"user_id": "ann", "blob_data": {"messages": []}})
    working.call("flush", "--all")
    working.call("flush", "--all")
    await produce(kafka, topic, {"user_id": "ann", "command": "forget-user"})

    found = await read_until(kafka, prefix, AWAITED)

    unfit = set()
    refused = set()
    for topic, records in found.items():
        for record in records:
            what = kind(topic, record)
            key = None if record.key is None else record.key.decode()
            headers = {name: value.decode() for name, value in record.headers}
            assert faults(key, published(f"{topic}.key")) == [], what
            assert faults(headers, published(f"{topic}.headers")) == [], what
            if what == "dead-letters invalid-record":
                errors = ("partition", "offset")
                refused.add(tuple(int(headers[f"__memostream.errors.{name}"]) for name in errors))
            elif topic == "chat-messages" and faults(orjson.loads(record.value), published(topic)):
                unfit.add((record.partition, record.offset))
            elif topic not in ("dead-letters", "chat-messages") and record.value is not None:
                assert faults(orjson.loads(record.value), published(topic)) == [], what
            if topic in ("profile-updated", "event-updated"):
                assert headers["traceparent"] == TRACE[1].decode()
    assert found.keys() == KEYS.keys()
    # What the worker refuses is what the schema of chat-messages refuses.
    assert len(refused) == 1
    assert unfit == refused
