"""Blobs read back by position from a real broker: several at once, over gaps and markers, and in bounded time."""

import asyncio
from collections.abc import Sequence

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete

from schemas.settings import KafkaSettings
from schemas.sought_blobs import SoughtBlob
from schemas.windows import Position
from streams.blob_records import read_unit
from streams.clients import admin, producer
from streams.message_reader import TopicTexts, read_blobs
from streams.raw_records import RawRecord
from tests.support.buffer_step import chat

PARTITIONS = 2
DEADLINE_S = 90.0


@pytest.fixture
async def kafka(kafka_bootstrap: str, topic_prefix: str) -> KafkaSettings:
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix)
    async with admin(settings) as client:
        await client.create_topics([NewTopic(f"{topic_prefix}log", PARTITIONS, 1)])
    return settings


async def send(kafka: KafkaSettings, texts: Sequence[str], *, partition: int, abort: bool = False) -> int:
    """Send the texts in a transaction, which leaves a marker behind them; the offset of the first."""
    async with producer(kafka, transactional_id=f"{kafka.topic_prefix}test-{partition}") as client:
        await client.begin_transaction()
        sent = [
            await client.send(f"{kafka.topic_prefix}log", orjson.dumps(chat(text, id=text)), partition=partition)
            for text in texts
        ]
        first: int = (await sent[0]).offset
        await (client.abort_transaction() if abort else client.commit_transaction())
        return first


def sought(kafka: KafkaSettings, text: str, partition: int, *offsets: int) -> SoughtBlob:
    found = read_unit(RawRecord("any", 0, 0, 0, None, orjson.dumps(chat(text, id=text))))
    assert found is not None
    blob, unit = found
    positions = tuple(
        Position(topic=f"{kafka.topic_prefix}log", partition=partition, offset=offset, timestamp_ms=0)
        for offset in offsets
    )
    return SoughtBlob(blob.project_id, blob.user_id, unit.blob_id, unit.content_hash, positions)


async def test_blobs_near_and_far_apart_on_several_partitions_are_read_at_once(kafka: KafkaSettings) -> None:
    await send(kafka, [f"a{number}" for number in range(2000)], partition=0)
    later = await send(kafka, ["b0", "b1"], partition=0)
    await send(kafka, ["c0"], partition=1)
    wanted = [sought(kafka, f"a{number}", 0, number) for number in (0, 1, 600, 601, 1999)]
    wanted += [sought(kafka, "b1", 0, later + 1), sought(kafka, "c0", 1, 5, 0)]
    found = await read_blobs(kafka, wanted, timeout_s=DEADLINE_S)
    assert [found[blob].unit is not None for blob in wanted] == [True] * 7
    assert [unit.blob_id for blob in wanted if (unit := found[blob].unit)] == [blob.blob_id for blob in wanted]


async def test_what_is_not_there_is_told_apart(kafka: KafkaSettings) -> None:
    await send(kafka, ["a0", "a1", "a2"], partition=0)
    async with admin(kafka) as client:
        await client.delete_records({TopicPartition(f"{kafka.topic_prefix}log", 0): RecordsToDelete(1)})
    wanted = {
        "deleted": sought(kafka, "a0", 0, 0),
        "left": sought(kafka, "a1", 0, 1),
        "another": sought(kafka, "a1", 0, 2),
        "a marker": sought(kafka, "a1", 0, 3),
        "the end": sought(kafka, "a1", 0, 4),
        "no such partition": sought(kafka, "a1", 7, 0),
        "nowhere": sought(kafka, "a1", 0),
    }
    found = await read_blobs(kafka, wanted.values(), timeout_s=DEADLINE_S)
    assert {name: found[blob].absence for name, blob in wanted.items()} == {
        "deleted": "removed",
        "left": None,
        "another": "replaced",
        "a marker": "removed",
        "the end": "replaced",
        "no such partition": "replaced",
        "nowhere": "removed",
    }
    elsewhere = kafka.model_copy(update={"topic_prefix": "no-such-"})
    missing = sought(elsewhere, "a1", 0, 1)
    assert (await read_blobs(elsewhere, [missing], timeout_s=DEADLINE_S))[missing].absence == "no-topic"


async def test_a_broker_that_does_not_answer_in_time_leaves_the_question_open(kafka: KafkaSettings) -> None:
    await send(kafka, ["a0"], partition=0)
    blob = sought(kafka, "a0", 0, 0)
    away = kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    assert (await read_blobs(away, [blob], timeout_s=DEADLINE_S))[blob].absence == "unanswered"
    assert (await read_blobs(kafka, [blob], timeout_s=0.0))[blob].absence == "unanswered"
    assert await read_blobs(away, []) == {}


async def test_many_who_ask_side_by_side_get_what_they_asked_for(kafka: KafkaSettings) -> None:
    await send(kafka, [f"a{number}" for number in range(40)], partition=0)
    wanted = [sought(kafka, f"a{number}", 0, number) for number in range(40)]
    texts = TopicTexts(kafka, timeout_s=DEADLINE_S)
    cut_off = asyncio.create_task(texts.read(wanted[:1]))
    asking = [asyncio.create_task(texts.read([blob])) for blob in wanted]
    await asyncio.sleep(0)
    cut_off.cancel()
    answers = await asyncio.gather(*asking)
    assert [unit.blob_id for blob, found in zip(wanted, answers, strict=True) if (unit := found[blob].unit)] == [
        blob.blob_id for blob in wanted
    ]
    assert await texts.read([]) == {}
