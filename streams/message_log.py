"""The gateway's producer of `chat-messages`: kept open, and replaced when the broker does not answer any more."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata
from pydantic_core import PydanticSerializationError

from schemas.errors import ConfigurationError, InvalidRecord, RetryLater
from schemas.records import Blob, Command
from schemas.settings import BufferSettings, KafkaSettings
from schemas.windows import Position
from streams.clients import new_producer, position_of, translated
from streams.topics import Topics, ensure_topics, partition_for

LINGER_MS: Final = 2
REOPEN_S: Final = 0.5
# Opening asks for metadata and topics; one try may not take longer, or a broker that is back is noticed late.
OPEN_TIMEOUT_S: Final = 10.0
# At the end: what was handed over is still delivered, if the broker answers.
FLUSH_TIMEOUT_S: Final = 5.0
RETRY_AFTER_S: Final = 1.0
AWAY: Final = "Kafka: the broker has not acknowledged the record in time; it may be away"

log = structlog.get_logger()


@asynccontextmanager
async def message_log(
    kafka: KafkaSettings, buffer: BufferSettings, timeout_s: float
) -> AsyncIterator["KafkaMessageLog"]:
    """A log that opens in the background: it needs no broker to begin. What was sent is flushed on leaving.

    An error that nobody expected ends the block, too.
    """
    opened = KafkaMessageLog(kafka, buffer, timeout_s)
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(opened.keep_open(), name="message-log")
        try:
            yield opened
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
            await opened.close()


@dataclass(slots=True, eq=False)
class _Open:
    """A started producer. `dropped` is done when what has not been acknowledged yet is given up; `heard_at_s` is when
    the broker answered it last."""

    client: AIOKafkaProducer
    partitions: int
    dropped: "asyncio.Future[None]"
    heard_at_s: float


class KafkaMessageLog:
    """A call returns once all replicas have the record, or raises within `timeout_s`: an answer is never a guess.

    RetryLater means that it was not acknowledged. Mostly it was not written either, for what a producer still held is
    dropped with it; but a broker that took the record may have gone before it said so, hence the same id is to be sent
    again.
    """

    def __init__(self, kafka: KafkaSettings, buffer: BufferSettings, timeout_s: float) -> None:
        # What is on its way when the producer is given up is known to have failed by then, too.
        self._kafka = kafka.model_copy(update={"request_timeout_s": timeout_s})
        self._buffer = buffer
        self._timeout_s = timeout_s
        self._topic = Topics(kafka.topic_prefix).chat_messages
        self._current: _Open | None = None
        self._is_open = asyncio.Event()
        self._is_lost = asyncio.Event()
        self._problem = "the producer is being opened"
        self._closing: set[asyncio.Task[None]] = set()

    async def send_blob(self, blob: Blob) -> Position:
        """Raises InvalidRecord where its JSON is larger than `buffer.max_blob_bytes`, and RetryLater."""
        try:
            value = blob.model_dump_json(exclude_none=True).encode()
        # Half of a surrogate pair, which JSON may spell out.
        except (PydanticSerializationError, UnicodeEncodeError) as error:
            raise InvalidRecord("invalid-record", "it holds text that is no Unicode") from error
        return await self._send(blob.user_id, value)

    async def send_command(self, command: Command) -> Position:
        """Raises RetryLater."""
        return await self._send(command.user_id, command.model_dump_json(exclude_none=True).encode())

    async def problems(self) -> Sequence[str]:
        """Why nothing could be sent now; nothing while the producer is open."""
        return () if self._current is not None else (self._problem,)

    async def keep_open(self) -> None:
        """Open a producer, and another one whenever one is given up, until cancelled."""
        while True:
            try:
                await self._open()
            except (RetryLater, ConfigurationError) as error:
                self._say(str(error))
            except (KafkaError, OSError) as error:
                self._say(f"Kafka, opening the producer: {type(error).__name__}")
            if self._current is None:
                await asyncio.sleep(REOPEN_S)
                continue
            await self._is_lost.wait()
            self._is_lost.clear()

    async def close(self) -> None:
        """Flush what was handed over, for a bounded time, and let go of the broker."""
        if self._current is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(FLUSH_TIMEOUT_S):
                    await self._current.client.flush()
            self._drop(self._current)
        if self._closing:
            await asyncio.wait(self._closing, timeout=FLUSH_TIMEOUT_S)

    async def _send(self, user_id: str, value: bytes) -> Position:
        if len(value) > self._buffer.max_blob_bytes:
            raise InvalidRecord(
                "too-large",
                f"it has {len(value)} bytes as JSON, buffer.max_blob_bytes is {self._buffer.max_blob_bytes}",
            )
        current: _Open | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                current = await self._opened()
                return await self._deliver(current, user_id.encode(), value)
        except TimeoutError as error:
            # A broker that answers others is not away; then the record stays with the producer, which goes on trying.
            if current is not None and asyncio.get_running_loop().time() - current.heard_at_s > self._timeout_s / 2:
                self._give_up(current, AWAY)
            raise RetryLater(AWAY, RETRY_AFTER_S) from error

    async def _deliver(self, current: _Open, key: bytes, value: bytes) -> Position:
        partition = partition_for(key, current.partitions)
        sent_ms = time.time_ns() // 1_000_000
        try:
            metadata = await self._acknowledged(current, key, value, partition, sent_ms)
        # After an error a producer may have lost its place in the partition's sequence, and delivers nothing.
        except KafkaError as error:
            name = type(error).__name__
            self._give_up(current, f"Kafka, sending: {name}")
            raise RetryLater(f"Kafka, sending: {name}", RETRY_AFTER_S) from error
        current.heard_at_s = asyncio.get_running_loop().time()
        if metadata.offset < 0:
            # Sent twice, and the broker has forgotten where it lies: nobody could wait for it.
            raise RetryLater("Kafka, sending: the broker does not tell where the record lies", RETRY_AFTER_S)
        return position_of(metadata, sent_ms)

    async def _acknowledged(
        self, current: _Open, key: bytes, value: bytes, partition: int, sent_ms: int
    ) -> RecordMetadata:
        delivery: asyncio.Future[RecordMetadata] = await current.client.send(
            self._topic, value, key, partition, sent_ms
        )
        # Who waits for it may have gone when it fails.
        delivery.add_done_callback(_seen)
        await asyncio.wait([delivery, current.dropped], return_when=asyncio.FIRST_COMPLETED)
        if not delivery.done():
            raise RetryLater(AWAY, RETRY_AFTER_S)
        return delivery.result()

    async def _opened(self) -> _Open:
        while self._current is None:
            await self._is_open.wait()
        return self._current

    async def _open(self) -> None:
        client: AIOKafkaProducer | None = None
        try:
            with translated("opening the producer"):
                async with asyncio.timeout(OPEN_TIMEOUT_S):
                    partitions = await ensure_topics(self._kafka, self._buffer)
                    client = new_producer(self._kafka, linger_ms=LINGER_MS)
                    await client.start()
        except BaseException:
            if client is not None:
                await _abort(client)
            raise
        loop = asyncio.get_running_loop()
        self._current = _Open(client, partitions, loop.create_future(), loop.time())
        self._is_open.set()
        log.info("producer.opened", partitions=partitions)

    def _give_up(self, opened: _Open, reason: str) -> None:
        """Drop what this producer has not delivered, so that nothing is written after its sender was told no."""
        if self._current is opened:
            self._say(reason)
            self._drop(opened)

    def _drop(self, opened: _Open) -> None:
        self._current = None
        self._is_open.clear()
        opened.dropped.set_result(None)
        aborting = asyncio.create_task(_abort(opened.client))
        self._closing.add(aborting)
        aborting.add_done_callback(self._closing.discard)
        self._is_lost.set()

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("producer.unavailable", reason=problem)
        self._problem = problem


async def _abort(client: AIOKafkaProducer) -> None:
    """Stop a producer without delivering what it holds; its own `stop` waits until a broker takes that."""
    client._closed = True  # noqa: SLF001
    sender = client._sender.sender_task  # noqa: SLF001
    if sender is not None:
        sender.cancel()
        # It waits for what is on its way, no longer than a request may take.
        await asyncio.wait([sender])
    await client.client.close()


def _seen(delivery: "asyncio.Future[RecordMetadata]") -> None:
    if not delivery.cancelled():
        delivery.exception()
