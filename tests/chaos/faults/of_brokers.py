"""Faults of brokers: any one of them, the controller, or the one that leads a changelog."""

import asyncio
import contextlib
import time
from typing import Final

from aiokafka.errors import KafkaError

from embedded import EmbeddedKafka
from schemas.errors import ConfigurationError, MemostreamError
from streams.clients import admin
from tests.chaos.arena import PARTITIONS, Arena

AWAY_S: Final = (1.0, 5.0)
IN_SYNC_TIMEOUT_S: Final = 180.0
POLL_S: Final = 0.5
START_ATTEMPTS: Final = 3


async def kill(arena: Arena, node: int | None = None) -> str:
    return await _away(arena, node or arena.random.choice(list(arena.cluster.brokers)), gracefully=False)


async def stop(arena: Arena) -> str:
    return await _away(arena, arena.random.choice(list(arena.cluster.brokers)), gracefully=True)


async def kill_controller(arena: Arena) -> str:
    return await kill(arena, arena.cluster.controller())


async def kill_changelog_leader(arena: Arena) -> str:
    partition = arena.random.randrange(PARTITIONS)
    async with admin(arena.settings.kafka) as client:
        (topic,) = await client.describe_topics([arena.topics.buffer_changelog])
    leaders = {entry["partition"]: entry["leader"] for entry in topic["partitions"]}
    return await kill(arena, leaders[partition] if leaders.get(partition) in arena.cluster.brokers else None)


async def _away(arena: Arena, node: int, *, gracefully: bool) -> str:
    broker = arena.cluster.brokers[node]
    await (broker.stop() if gracefully else broker.kill())
    await asyncio.sleep(arena.random.uniform(*AWAY_S))
    await _come_back(broker)
    begun = time.monotonic()
    await in_sync(arena)
    return f"in sync after {time.monotonic() - begun:.1f} s"


async def _come_back(broker: EmbeddedKafka) -> None:
    """On a machine with more to do than it can a start may take too long: it is tried again."""
    for _ in range(START_ATTEMPTS):
        with contextlib.suppress(ConfigurationError):
            await broker.start()
            return
    await broker.start()


async def in_sync(arena: Arena) -> None:
    """Wait until every replica has everything, or the next broker away would be one too many."""
    async with asyncio.timeout(IN_SYNC_TIMEOUT_S):
        while not await _is_in_sync(arena):
            await asyncio.sleep(POLL_S)


async def _is_in_sync(arena: Arena) -> bool:
    try:
        async with admin(arena.settings.kafka) as client:
            topics = await client.describe_topics()
    except (KafkaError, MemostreamError, OSError):
        return False
    return all(
        partition["leader"] >= 0 and len(partition["isr"]) == len(partition["replicas"])
        for topic in topics
        for partition in topic["partitions"]
    )
