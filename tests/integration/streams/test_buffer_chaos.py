"""Two workers on a real broker, killed and frozen while messages come: each message counts exactly once."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Literal

import orjson
import pytest

from schemas.settings import KafkaSettings
from schemas.windows import Window, decode_window
from streams.buffer_reader import read_buffered
from streams.clients import producer
from streams.topics import Topics, ensure_topics
from tests.support.buffer_step import chat
from tests.support.buffer_worker import WorkerProcess, read_all, unread, until_all_read, worker_settings

pytestmark = pytest.mark.chaos

MESSAGES = 6000
USERS = 60
PRODUCING_S = 14.0
# Past the session of three seconds, so that the other worker takes over.
FROZEN_S = 4.5


async def produce(kafka: KafkaSettings, users: int, messages: int, during_s: float) -> None:
    """Numbered messages of each user, spread over a time; the number says the order that a user's must keep."""
    bursts = 100
    async with producer(kafka, linger_ms=5) as client:
        for begin in range(0, messages, messages // bursts):
            for number in range(begin, begin + messages // bursts):
                user_id = f"u{number % users}"
                value = orjson.dumps(chat(f"message {number} of usual length", user_id=user_id, id=f"m{number}"))
                await client.send(Topics(kafka.topic_prefix).chat_messages, value, key=user_id.encode())
            await asyncio.sleep(during_s / bursts)


async def wait_for_progress(kafka: KafkaSettings, workers: list[WorkerProcess]) -> None:
    """Wait until windows have come, so that the next fault meets workers at work."""
    topic = Topics(kafka.topic_prefix).extraction_windows
    before = len(await read_all(kafka, topic))
    async with asyncio.timeout(60):
        while len(await read_all(kafka, topic)) <= before:
            for worker in workers:
                assert worker.exit_code is None, worker.log_tail()
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
async def test_kills_and_freezes_neither_lose_nor_double_nor_reorder_a_message(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, store: Literal["memory", "rocksdb"]
) -> None:
    settings = worker_settings(kafka_bootstrap, topic_prefix, store=store, data_dir=tmp_path / "data")
    kafka, topics = settings.kafka, Topics(topic_prefix)
    await ensure_topics(kafka, settings.buffer)

    def start(name: str) -> WorkerProcess:
        return WorkerProcess(settings, tmp_path / f"{name}.log")

    workers = [start("one"), start("two")]
    try:
        producing = asyncio.create_task(produce(kafka, USERS, MESSAGES, PRODUCING_S))
        await wait_for_progress(kafka, workers)
        workers[0].kill()
        workers[0] = start("one")
        await wait_for_progress(kafka, workers)
        workers[1].freeze()
        await asyncio.sleep(FROZEN_S)
        workers[1].thaw()
        await wait_for_progress(kafka, workers)
        workers[1].kill()
        workers[1] = start("two")
        await producing
        await until_all_read(kafka, workers)
        assert [await worker.stop() for worker in workers] == [0, 0], [worker.log_tail() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()

    assert await unread(kafka) == 0
    assert len(await read_all(kafka, topics.chat_messages)) == MESSAGES
    in_windows: dict[str, list[int]] = {}
    for record in await read_all(kafka, topics.extraction_windows):
        window = decode_window(record.value)
        assert isinstance(window, Window)
        in_windows.setdefault(window.user_id, []).extend(int(unit.blob_id.removeprefix("m")) for unit in window.units)
    buffered = await read_buffered(kafka)
    in_buffer = [int(blob.blob_id.removeprefix("m")) for blob in buffered.blobs]
    assert sum(head.count for head in buffered.heads.values()) == len(in_buffer)
    found = Counter(number for numbers in in_windows.values() for number in numbers) + Counter(in_buffer)
    assert found == Counter(range(MESSAGES))
    assert all(numbers == sorted(numbers) for numbers in in_windows.values())
    assert len(in_windows) == USERS
    assert await read_all(kafka, topics.dead_letters) == []
