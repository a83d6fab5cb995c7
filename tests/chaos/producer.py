"""Sends the records of a run and writes down, for each, that it is sent and that Kafka has acknowledged it."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.errors import MemostreamError
from schemas.settings import KafkaSettings
from streams.clients import new_producer
from streams.topics import Topics
from tests.chaos.load import Planned

BURST: Final = 100
RETRY_S: Final = 0.5
CLOSE_TIMEOUT_S: Final = 10.0
PASSING: Final = (KafkaError, MemostreamError, OSError, AssertionError)


class Manifest:
    """JSON lines: `sending` before, `acknowledged` after Kafka has taken a record, by the record's tag."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", encoding="utf-8")
        self.sent: dict[str, Planned] = {}
        self.acknowledged: set[str] = set()
        # Whose first try has failed with an outcome that nobody knows.
        self.retried = 0

    def sending(self, records: Sequence[Planned]) -> None:
        for record in records:
            self.sent[record.tag] = record
            self._write("sending", record)

    def acknowledge(self, record: Planned) -> None:
        self.acknowledged.add(record.tag)
        self._write("acknowledged", record)

    def close(self) -> None:
        self._file.close()

    def _write(self, state: str, record: Planned) -> None:
        line = {"state": state, "tag": record.tag, "user": record.user_id, "blob": record.blob_id}
        self._file.write(json.dumps({**line, "expected": record.expected, "reason": record.reason}) + "\n")


class LoadProducer:
    """Sends until Kafka has taken everything: what fails is sent again as it was, by a new client."""

    def __init__(self, kafka: KafkaSettings, manifest: Manifest) -> None:
        self._kafka = kafka
        self._topic = Topics(kafka.topic_prefix).chat_messages
        self._manifest = manifest
        self._client: AIOKafkaProducer | None = None
        self._transactional: AIOKafkaProducer | None = None

    async def send(self, groups: Sequence[Sequence[Planned]], per_s: float) -> None:
        """Groups of records, aborted ones in a transaction, at no more than so many a second."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for group in groups:
            for start in range(0, len(group), BURST):
                burst = group[start : start + BURST]
                await asyncio.sleep(max(0.0, due - loop.time()))
                # A rate, not a schedule: what a fault held up is not made up for.
                due = max(due, loop.time() - 1.0) + len(burst) / per_s
                if burst[0].expected == "aborted":
                    await self._send_aborted(burst)
                else:
                    await self._send_burst(burst)

    async def close(self) -> None:
        for client in (self._client, self._transactional):
            await _stopped(client)
        self._client = self._transactional = None

    async def _send_burst(self, burst: Sequence[Planned]) -> None:
        self._manifest.sending(burst)
        left = list(burst)
        while left:
            try:
                if self._client is None:
                    self._client = new_producer(self._kafka, linger_ms=5)
                    await self._client.start()
                futures = [await self._put(self._client, record) for record in left]
                results = await asyncio.gather(*futures, return_exceptions=True)
            except PASSING:
                results = [KafkaError()] * len(left)
            failed = []
            for record, result in zip(left, results, strict=True):
                if isinstance(result, BaseException):
                    failed.append(record)
                else:
                    self._manifest.acknowledge(record)
            left = failed
            if left:
                self._manifest.retried += len(left)
                await _stopped(self._client)
                self._client = None
                await asyncio.sleep(RETRY_S)

    async def _send_aborted(self, group: Sequence[Planned]) -> None:
        """Written and acknowledged, then aborted: nobody may ever read it."""
        self._manifest.sending(group)
        while True:
            try:
                if self._transactional is None:
                    self._transactional = new_producer(self._kafka, transactional_id=f"{self._topic}-aborting")
                    await self._transactional.start()
                client = self._transactional
                await client.begin_transaction()
                await asyncio.gather(*[await self._put(client, record) for record in group])
                await client.abort_transaction()
            except PASSING:
                await _stopped(self._transactional)
                self._transactional = None
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _put(self, client: AIOKafkaProducer, record: Planned) -> "asyncio.Future[object]":
        future: asyncio.Future[object] = await client.send(
            self._topic, record.value, record.key, record.partition, record.timestamp_ms
        )
        return future


async def _stopped(client: AIOKafkaProducer | None) -> None:
    if client is not None:
        with suppress(*PASSING, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await client.stop()
