"""The buffer stage beside what it stands on: a plain Kafka client, and a Faust agent that does nothing."""

import asyncio
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Final

import faust
import orjson
import structlog

from agents.buffer import create_buffer_app
from benchmarks.machine import cpu_s, rss_mib
from schemas.settings import BufferSettings, KafkaSettings
from schemas.tokens import token_counter
from streams.buffer_reader import read_buffered
from streams.clients import consumer
from streams.faust_app import FaustApp, new_app
from streams.topics import Topics

TIMEOUT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What all records took, from the first to the last; `cpu_s` is this process's, `rss_mib` what it held then."""

    records: int
    seconds: float
    cpu_s: float
    rss_mib: float
    llm_calls: int = 0

    @property
    def records_per_s(self) -> float:
        return self.records / self.seconds


class Stopwatch:
    """Measures this process from `start` until `stop`, each of which may be called again: the last call counts."""

    def __init__(self) -> None:
        self.start()
        self.stop()

    def start(self) -> None:
        self._began_s, self._cpu_began_s = time.perf_counter(), cpu_s()

    def stop(self) -> None:
        self._ended_s, self._cpu_ended_s = time.perf_counter(), cpu_s()

    def measured(self, records: int) -> Measurement:
        return Measurement(records, self._ended_s - self._began_s, self._cpu_ended_s - self._cpu_began_s, rss_mib())


async def measure_poll(kafka: KafkaSettings, records: int) -> Measurement:
    """aiokafka's `getmany` and JSON, nothing else."""
    count = 0
    watch = Stopwatch()
    async with consumer(kafka, Topics(kafka.topic_prefix).chat_messages) as reader:
        while count < records:
            for batch in (await reader.getmany(timeout_ms=1000)).values():
                if not count:
                    watch.start()
                for record in batch:
                    orjson.loads(record.value)
                count += len(batch)
        watch.stop()
    return watch.measured(count)


async def measure_idle_agent(kafka: KafkaSettings, records: int, group: str) -> Measurement:
    """An agent as people write it that does nothing, on Faust's own transport.

    The settings are those of our apps, read-committed too.
    """
    app = new_app(group, kafka, kafka.partitions)
    source = app.topic(Topics(kafka.topic_prefix).chat_messages, key_serializer="raw", value_serializer="raw")
    done = asyncio.Event()
    watch = Stopwatch()
    count = 0

    @app.agent(source, name="idle")
    async def idle_agent(stream: faust.StreamT[bytes]) -> None:
        nonlocal count
        async for _ in stream:
            if not count:
                watch.start()
            count += 1
            if count == records:
                watch.stop()
                done.set()

    await _run_until(app, done)
    return watch.measured(count)


async def measure_buffer(kafka: KafkaSettings, buffer: BufferSettings, records: int) -> Measurement:
    """The buffer role from the moment its partitions are open until the last batch is committed."""
    committed = 0
    done = asyncio.Event()
    watch = Stopwatch()

    def on_event(event: MutableMapping[str, Any]) -> None:
        nonlocal committed
        if event["event"] == "buffer.partition_opened":
            watch.start()
        elif event["event"] == "buffer.committed":
            watch.stop()
            committed += event["records"]
            if committed >= records:
                done.set()

    await run_buffer(kafka, buffer, done, on_event)
    measured = watch.measured(committed)
    if not (await read_buffered(kafka)).heads:
        raise RuntimeError("the buffer stage left no tail, so it cannot have read everything")
    return replace(measured, records=records)


async def run_buffer(
    kafka: KafkaSettings,
    buffer: BufferSettings,
    done: asyncio.Event,
    on_event: Callable[[MutableMapping[str, Any]], None],
) -> None:
    """The buffer role until `done`; `on_event` is shown what it logs."""

    def watch(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        on_event(event)
        raise structlog.DropEvent

    structlog.configure(processors=[watch], cache_logger_on_first_use=False)
    failures: list[BaseException] = []

    def on_fatal(error: BaseException) -> None:
        failures.append(error)
        done.set()

    count_tokens = token_counter(buffer.tokenizer, lambda _: None)
    app, _ = create_buffer_app(kafka, buffer, kafka.partitions, count_tokens, on_fatal)
    await _run_until(app, done)
    if failures:
        raise failures[0]


async def _run_until(app: FaustApp, done: asyncio.Event) -> None:
    await app.start()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await done.wait()
    finally:
        await app.stop()
