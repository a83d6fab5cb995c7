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
from tests.support.buffer_worker import (
    WorkerProcess,
    kill_freeze_kill,
    read_all,
    unread,
    until_all_read,
    until_more,
    worker_settings,
)

pytestmark = pytest.mark.chaos

USERS = 60
BURST_MESSAGES = 60
BURST_EVERY_S = 0.14


async def produce(kafka: KafkaSettings, enough: asyncio.Event) -> int:
    """Numbered messages of all users in turn, until there are enough; the number says the order that must be kept."""
    count = 0
    async with producer(kafka, linger_ms=5) as client:
        while not enough.is_set():
            for number in range(count, count + BURST_MESSAGES):
                user_id = f"u{number % USERS}"
                value = orjson.dumps(chat(f"message {number} of usual length", user_id=user_id, id=f"m{number}"))
                await client.send(Topics(kafka.topic_prefix).chat_messages, value, key=user_id.encode())
            count += BURST_MESSAGES
            await asyncio.sleep(BURST_EVERY_S)
    return count


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
async def test_kills_and_freezes_neither_lose_nor_double_nor_reorder_a_message(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, store: Literal["memory", "rocksdb"]
) -> None:
    settings = worker_settings(kafka_bootstrap, topic_prefix, store=store, data_dir=tmp_path / "data")
    kafka, topics = settings.kafka, Topics(topic_prefix)
    await ensure_topics(kafka, settings.buffer)

    def start(number: int) -> WorkerProcess:
        return WorkerProcess(settings, tmp_path / f"{number}.log")

    async def progress() -> None:
        await until_more(kafka, topics.extraction_windows, workers)

    enough = asyncio.Event()
    workers = [start(0), start(1)]
    try:
        producing = asyncio.create_task(produce(kafka, enough))
        await kill_freeze_kill(workers, start, progress)
        await progress()
        enough.set()
        messages = await producing
        await until_all_read(kafka, workers)
        assert [await worker.stop() for worker in workers] == [0, 0], [worker.log_tail() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()

    assert await unread(kafka) == 0
    assert len(await read_all(kafka, topics.chat_messages)) == messages
    in_windows: dict[str, list[int]] = {}
    for record in await read_all(kafka, topics.extraction_windows):
        window = decode_window(record.value)
        assert isinstance(window, Window)
        in_windows.setdefault(window.user_id, []).extend(int(unit.blob_id.removeprefix("m")) for unit in window.units)
    buffered = await read_buffered(kafka)
    in_buffer = [int(blob.blob_id.removeprefix("m")) for blob in buffered.blobs]
    assert sum(head.count for head in buffered.heads.values()) == len(in_buffer)
    found = Counter(number for numbers in in_windows.values() for number in numbers) + Counter(in_buffer)
    assert found == Counter(range(messages))
    assert all(numbers == sorted(numbers) for numbers in in_windows.values())
    assert len(in_windows) == USERS
    assert await read_all(kafka, topics.dead_letters) == []
