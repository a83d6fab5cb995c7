"""Two ingest workers on a real broker, killed and frozen while records come: each record is mapped exactly once."""

import asyncio
from collections import Counter
from pathlib import Path

import orjson
import pytest
from aiokafka.admin import NewTopic

from schemas.mapping import IngestSettings
from schemas.settings import KafkaSettings
from streams.clients import admin, producer
from streams.topics import Topics, ensure_topics
from tests.support.buffer_worker import (
    WorkerProcess,
    kill_freeze_kill,
    read_all,
    unread,
    until_all_read,
    until_more,
    worker_settings,
)
from tests.support.sources import source

pytestmark = pytest.mark.chaos

ROLE = frozenset({"ingest"})
BURST = 30
PAUSE_S = 0.1
ITEMS = 2
PARTITIONS = 5
USERS = 40
# Every so many a record with one item that cannot be mapped.
BAD_EVERY = 50


async def produce(kafka: KafkaSettings, topic: str, enough: asyncio.Event) -> int:
    """Numbered records without keys until there are enough, each of two users; returns how many.

    The number says the order that a user's records of a partition must keep.
    """
    count = 0
    async with producer(kafka, linger_ms=5) as client:
        while not enough.is_set():
            for number in range(count, count + BURST):
                items: list[dict[str, object]] = [
                    {"who": f"u{(number + item) % USERS}", "text": f"{number}/{item}"} for item in range(ITEMS)
                ]
                if number % BAD_EVERY == 0:
                    items.append({"who": "nobody", "text": number})
                await client.send(topic, orjson.dumps(items), partition=number % PARTITIONS)
            count += BURST
            await asyncio.sleep(PAUSE_S)
    return count


async def test_kills_and_a_freeze_neither_lose_nor_double_a_mapped_record_or_a_dead_letter(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    topic = f"{topic_prefix}theirs"
    mapping = source(topic=topic, each="value", user_id="item.who", content="item.text")
    settings = worker_settings(kafka_bootstrap, topic_prefix).model_copy(
        update={"ingest": IngestSettings(sources=(mapping,))}
    )
    kafka, topics = settings.kafka, Topics(topic_prefix)
    await ensure_topics(kafka, settings.buffer)
    async with admin(kafka) as client:
        await client.create_topics([NewTopic(topic, PARTITIONS, 1)])

    def start(number: int) -> WorkerProcess:
        return WorkerProcess(settings, tmp_path / f"{number}.log", ROLE)

    enough = asyncio.Event()

    async def progress() -> None:
        await until_more(kafka, topics.chat_messages, workers)

    workers = [start(0), start(1)]
    try:
        producing = asyncio.create_task(produce(kafka, topic, enough))
        await kill_freeze_kill(workers, start, progress)
        await progress()
        enough.set()
        records = await producing
        await until_all_read(kafka, workers, source=topic)
        assert [await worker.stop() for worker in workers] == [0, 0], [worker.log_tail() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()

    assert await unread(kafka, topic) == 0
    assert len(await read_all(kafka, topic)) == records
    said: dict[tuple[str, int], list[int]] = {}
    found: Counter[str] = Counter()
    for record in await read_all(kafka, topics.chat_messages):
        text = orjson.loads(record.value)["blob_data"]["messages"][0]["content"]
        number = int(text.partition("/")[0])
        found[text] += 1
        said.setdefault((record.key.decode(), number % PARTITIONS), []).append(number)
    assert found == Counter(f"{number}/{item}" for number in range(records) for item in range(ITEMS))
    # One user's records of one partition of the source keep their order.
    assert all(numbers == sorted(numbers) for numbers in said.values())
    letters = [orjson.loads(letter.value)[-1]["text"] for letter in await read_all(kafka, topics.dead_letters)]
    assert Counter(letters) == Counter(range(0, records, BAD_EVERY))
