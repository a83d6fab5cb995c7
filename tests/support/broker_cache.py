"""Makes the cache from which embedded brokers start in half the time (embedded/java.py), once for a JDK and jars."""

import asyncio
import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError

from embedded import EmbeddedKafka
from embedded.jars import classpath
from embedded.java import aot_cache, java_command
from embedded.kafka import HEAP_MB
from embedded.process import run_to_end
from schemas.errors import ConfigurationError, RetryLater
from schemas.settings import KafkaSettings
from streams.clients import admin, consumer, producer

TOPIC = "work"
# The JVM writes at its end, and a busy machine lets it wait.
STOP_GRACE_S = 120.0


async def make_broker_cache() -> None:
    """Returns at once where the cache is there, or another process is making it; a broker starts without it, too."""
    jars = classpath(progress=lambda _: None)
    cache = aot_cache(jars)
    lock = os.open(cache.parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not cache.exists():
            with tempfile.TemporaryDirectory(prefix=".recording-", dir=cache.parent) as folder:
                await _make(cache, jars, Path(folder))
    except BlockingIOError:
        return
    finally:
        os.close(lock)


async def _make(cache: Path, jars: list[Path], folder: Path) -> None:
    recording, made = folder / "recording", folder / "made.aot"
    broker = EmbeddedKafka(
        folder / "broker",
        java_options=["-XX:AOTMode=record", f"-XX:AOTConfiguration={recording}"],
        stop_grace_s=STOP_GRACE_S,
    )
    await broker.start()
    try:
        # What it does not come to is loaded later, as without a cache.
        with contextlib.suppress(KafkaError, RetryLater):
            await _work(broker.bootstrap_servers)
    finally:
        await broker.stop()
    create = ["-XX:AOTMode=create", f"-XX:AOTConfiguration={recording}", f"-XX:AOTCache={made}"]
    try:
        run_to_end(java_command(jars, heap_mb=HEAP_MB, options=create), cwd=folder)
    except ConfigurationError:
        return
    for other in cache.parent.glob("broker-*.aot"):
        # Of another JDK, or of other jars.
        other.unlink(missing_ok=True)
    # Only a complete one gets the name.
    made.replace(cache)


async def _work(bootstrap_servers: str) -> None:
    """What every broker of a test does: a topic, a transaction, a group."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
    async with admin(kafka) as client:
        await client.create_topics([NewTopic(TOPIC, 1, 1)])
    async with producer(kafka, transactional_id=TOPIC) as sender, sender.transaction():
        await sender.send_and_wait(TOPIC, b"", b"")
    async with consumer(kafka, TOPIC, group_id=TOPIC) as reader:
        await reader.getone()
        await reader.commit()


if __name__ == "__main__":
    asyncio.run(make_broker_cache())
