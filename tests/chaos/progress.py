"""Whether the workers come on: what a group still has to read of what there was at a moment."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from aiokafka.errors import KafkaError

from cli.scanning import TopicScanner, topic_scanner
from schemas.errors import MemostreamError, RetryLater
from schemas.settings import KafkaSettings
from streams.topics import Topics

POLL_S: Final = 0.2
# What a client that met a broker at a bad moment may raise; a new one is made then.
PASSING: Final = (RetryLater, KafkaError, OSError, AssertionError)

Ends = Mapping[int, int]


class Progress:
    """Looks through one connection while it holds, and makes another when it breaks."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._topics = Topics(kafka.topic_prefix)
        self._stack = AsyncExitStack()
        self._scanner: TopicScanner | None = None

    async def all_read(self, timeout_s: float) -> float:
        """Seconds until buffer and extraction have read all that was there when this was called.

        Raises TimeoutError with how much is left.
        """
        begun = time.monotonic()
        deadline = begun + timeout_s
        await self._until_read(self._topics.buffer_group, self._topics.chat_messages, deadline)
        await self._until_read(self._topics.extraction_group, self._topics.extraction_windows, deadline)
        return time.monotonic() - begun

    async def close(self) -> None:
        self._scanner = None
        await self._stack.aclose()

    async def _until_read(self, group: str, topic: str, deadline: float) -> None:
        end: Ends | None = None
        left = -1
        while left:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{left} records of {topic} are left")
            try:
                scanner = await self._scan()
                if end is None:
                    _, end = await scanner.bounds(topic)
                left = await scanner.behind(group, topic, end)
            except (*PASSING, MemostreamError):
                await self._forget()
            if left:
                await asyncio.sleep(POLL_S)

    async def _scan(self) -> TopicScanner:
        if self._scanner is None:
            self._stack = AsyncExitStack()
            self._scanner = await self._stack.enter_async_context(topic_scanner(self._kafka))
        return self._scanner

    async def _forget(self) -> None:
        try:
            async with asyncio.timeout(10):
                await self.close()
        except (*PASSING, MemostreamError, TimeoutError):
            self._scanner = None
