"""A worker without a database, of the buffer role by default: here, or in a process that may be killed and frozen."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord
from pydantic import SecretStr

from schemas.settings import BufferSettings, KafkaSettings, Settings, StorageSettings
from schemas.tracing import Tracer
from streams.clients import consumer
from streams.topics import Topics
from streams.worker import run_worker

ROLE: Final = frozenset({"buffer"})
# The buffer works without one; nothing listens there.
NO_DATABASE: Final = "postgresql+asyncpg://postgres@127.0.0.1:1/none"
DATABASE_VARIABLE: Final = "MEMOSTREAM_STORAGE__DATABASE_URL"
POLL_S: Final = 0.1
STOP_TIMEOUT_S: Final = 30.0
START_TIMEOUT_S: Final = 60.0
# Past the session of three seconds, so that the other worker takes over.
FROZEN_S: Final = 4.5


def worker_settings(
    bootstrap_servers: str,
    topic_prefix: str,
    *,
    partitions: int = 4,
    database_url: str = NO_DATABASE,
    **buffer: Any,
) -> Settings:
    """Settings whose windows close after a handful of messages, and whose sessions end after three seconds."""
    return Settings(
        storage=StorageSettings(database_url=SecretStr(database_url)),
        kafka=KafkaSettings(
            bootstrap_servers=bootstrap_servers,
            topic_prefix=topic_prefix,
            partitions=partitions,
            session_timeout_s=3.0,
            heartbeat_interval_s=0.5,
        ),
        buffer=BufferSettings(**{"tokenizer": "estimate", "max_chat_blob_buffer_token_size": 200, **buffer}),
    )


@asynccontextmanager
async def running_worker(
    settings: Settings, roles: frozenset[str] = ROLE, tracer: Tracer | None = None
) -> AsyncIterator["asyncio.Task[int]"]:
    """A worker on this loop, stopped on leaving; the task returns its exit code."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_worker(settings, roles, stop, tracer=tracer))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait_for(task, STOP_TIMEOUT_S)


class WorkerProcess:
    """A worker in a process of its own; `log_file` takes what it prints."""

    def __init__(self, settings: Settings, log_file: Path, roles: frozenset[str] = ROLE) -> None:
        self._log_file = log_file
        with log_file.open("ab") as output:
            self._log_begins_at = output.tell()
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.support.buffer_worker",
                    settings.model_dump_json(include={"kafka", "ingest", "buffer", "worker"}),
                    *sorted(roles),
                ],
                env={**os.environ, DATABASE_VARIABLE: settings.storage.database_url.get_secret_value()},
                cwd=Path(__file__).parents[2],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        """As the kernel does when memory runs out: no farewell to anybody."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> int:
        """Ask it to end, once it can be asked; its exit code."""
        # Before it has started it knows nothing of signals and would die of one.
        async with asyncio.timeout(START_TIMEOUT_S):
            while (
                b"worker.started" not in self._log_file.read_bytes()[self._log_begins_at :] and self.exit_code is None
            ):
                await asyncio.sleep(POLL_S)
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait, STOP_TIMEOUT_S)

    def log_tail(self) -> str:
        return self._log_file.read_text(errors="replace")[-6000:]


async def read_all(kafka: KafkaSettings, topic: str) -> list[ConsumerRecord]:
    """Everything committed in a topic, in the order of each partition."""
    async with consumer(kafka) as reader:
        return await _read_to_end(reader, await _assign_all(reader, topic))


async def unread(kafka: KafkaSettings, source: str | None = None) -> int:
    """Records that a group has not committed: the buffer's of `chat-messages`, or the ingest stage's of a source.

    A transaction's marker is none.
    """
    topics = Topics(kafka.topic_prefix)
    group = topics.buffer_group if source is None else topics.ingest_group
    async with consumer(kafka, group_id=group) as reader:
        # Assigned by hand, so that the group is asked but not joined.
        partitions = await _assign_all(reader, source or topics.chat_messages)
        for tp in partitions:
            reader.seek(tp, await reader.committed(tp) or 0)
        return len(await _read_to_end(reader, partitions))


async def until_all_read(
    kafka: KafkaSettings,
    workers: Sequence[WorkerProcess] = (),
    timeout_s: float = 60.0,
    *,
    source: str | None = None,
) -> None:
    """Wait until nothing is `unread` any more; fails when one of the workers ends."""
    async with asyncio.timeout(timeout_s):
        while await unread(kafka, source):
            for worker in workers:
                assert worker.exit_code is None, worker.log_tail()
            await asyncio.sleep(POLL_S)


async def until_more(kafka: KafkaSettings, topic: str, workers: Sequence[WorkerProcess]) -> None:
    """Wait until more has come on a topic, so that the next fault meets workers at work."""
    before = len(await read_all(kafka, topic))
    async with asyncio.timeout(60):
        while len(await read_all(kafka, topic)) <= before:
            for worker in workers:
                assert worker.exit_code is None, worker.log_tail()
            await asyncio.sleep(0.2)


async def kill_freeze_kill(
    workers: list[WorkerProcess], start: Callable[[int], WorkerProcess], progress: Callable[[], Awaitable[None]]
) -> None:
    """Kill the first worker, freeze the second past its session, then kill it; each after progress."""
    await progress()
    workers[0].kill()
    workers[0] = start(0)
    await progress()
    workers[1].freeze()
    await asyncio.sleep(FROZEN_S)
    workers[1].thaw()
    await progress()
    workers[1].kill()
    workers[1] = start(1)


async def _assign_all(reader: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    while not (numbers := await _partitions(reader, topic)):
        await asyncio.sleep(POLL_S)
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    reader.assign(partitions)
    await reader.seek_to_beginning(*partitions)
    return partitions


async def _read_to_end(reader: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> list[ConsumerRecord]:
    records: list[ConsumerRecord] = []
    ends = await reader.end_offsets(partitions)
    while [tp for tp in partitions if await reader.position(tp) < ends[tp]]:
        for batch in (await reader.getmany(timeout_ms=200)).values():
            records += batch
    return records


async def _partitions(reader: AIOKafkaConsumer, topic: str) -> set[int]:
    # A consumer without topics fetches no metadata of its own.
    reader._client.add_topic(topic)
    await reader._client.force_metadata_update()
    return set(reader.partitions_for_topic(topic) or ())


async def _main(settings: Settings, roles: frozenset[str]) -> int:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return await run_worker(settings, roles, stop)


if __name__ == "__main__":
    given = Settings.model_validate_json(sys.argv[1])
    storage = StorageSettings(database_url=SecretStr(os.environ[DATABASE_VARIABLE]))
    sys.exit(asyncio.run(_main(given.model_copy(update={"storage": storage}), frozenset(sys.argv[2:]))))
