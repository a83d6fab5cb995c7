"""The buffer stage beside what it stands on: a plain Kafka client, and a Faust agent that does nothing."""

import asyncio
import time
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import faust
import orjson
import structlog

from agents.buffer import create_buffer_app
from schemas.settings import BufferSettings, KafkaSettings
from schemas.tokens import token_counter
from streams.buffer_reader import read_buffered
from streams.clients import consumer, producer
from streams.faust_app import FaustApp, new_app, raw_topic
from streams.topics import Topics, ensure_topics

TIMEOUT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """How long one stage took for all records, from its first to its last."""

    name: str
    records: int
    seconds: float
    transactions: int | None = None

    @property
    def records_per_s(self) -> float:
        return self.records / self.seconds


async def fill(kafka: KafkaSettings, buffer: BufferSettings, records: Iterable[tuple[bytes, bytes]]) -> int:
    """Create the topics, send all records, and return how many there are."""
    await ensure_topics(kafka, buffer)
    count = 0
    topic = Topics(kafka.topic_prefix).chat_messages
    async with producer(kafka, linger_ms=20) as client:
        for key, value in records:
            await client.send(topic, value, key=key)
            count += 1
    return count


async def measure_poll(kafka: KafkaSettings, records: int) -> Measurement:
    """aiokafka's `getmany` and JSON, nothing else."""
    count = 0
    async with consumer(kafka, Topics(kafka.topic_prefix).chat_messages) as reader:
        begin = time.perf_counter()
        while count < records:
            for batch in (await reader.getmany(timeout_ms=1000)).values():
                for record in batch:
                    orjson.loads(record.value)
                count += len(batch)
        return Measurement("aiokafka poll and JSON", count, time.perf_counter() - begin)


async def measure_idle_agent(kafka: KafkaSettings, records: int) -> Measurement:
    """A Faust agent with our settings whose body is empty."""
    app = new_app(f"{kafka.topic_prefix}idle-agent", kafka, kafka.partitions)
    source = raw_topic(app, Topics(kafka.topic_prefix).chat_messages, kafka.partitions)
    done = asyncio.Event()
    count = 0
    begin = end = 0.0

    @app.agent(source, name="idle")
    async def idle_agent(stream: faust.StreamT[bytes]) -> None:
        nonlocal count, begin, end
        async for _ in cast(faust.Stream[bytes], stream).noack().events():
            if not count:
                begin = time.perf_counter()
            count += 1
            if count == records:
                end = time.perf_counter()
                done.set()

    await _run_until(app, done)
    return Measurement("Faust agent that does nothing", count, end - begin)


async def measure_buffer(
    kafka: KafkaSettings, buffer: BufferSettings, records: int, store: Literal["memory", "rocksdb"]
) -> Measurement:
    """The buffer role from the moment its partitions are open until the last batch is committed.

    It writes topics of its own installation, so it is to be filled under a prefix that nothing else reads.
    """
    opened: list[float] = []
    batches: list[int] = []
    committed = 0
    end = 0.0
    done = asyncio.Event()

    def watch(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        nonlocal committed, end
        if event["event"] == "buffer.partition_opened":
            opened.append(time.perf_counter())
        elif event["event"] == "buffer.committed":
            end = time.perf_counter()
            batches.append(event["records"])
            committed += event["records"]
            if committed >= records:
                done.set()
        raise structlog.DropEvent

    structlog.configure(processors=[watch], cache_logger_on_first_use=False)
    failures: list[BaseException] = []

    def on_fatal(error: BaseException) -> None:
        failures.append(error)
        done.set()

    settings = buffer.model_copy(update={"store": store})
    app, _ = create_buffer_app(
        kafka, settings, kafka.partitions, token_counter(settings.tokenizer, lambda _: None), on_fatal
    )
    await _run_until(app, done)
    if failures:
        raise failures[0]
    buffered = await read_buffered(kafka)
    if not buffered.heads:
        raise RuntimeError("the buffer stage left no tail, so it cannot have read everything")
    return Measurement(f"buffer stage, {store} store", records, end - max(opened), len(batches))


async def _run_until(app: FaustApp, done: asyncio.Event) -> None:
    await app.start()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await done.wait()
    finally:
        await app.stop()
