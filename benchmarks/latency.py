"""`python -m benchmarks.latency`: from the last message of a window to its change event, as a consumer reads it.

One worker of all roles in a process of its own, with a scripted model. Writes benchmarks/out/latency.json.
"""

import argparse
import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.conversations import conversations
from benchmarks.machine import WORKER_PACKAGES, machine, shown
from benchmarks.reports import percentile, write
from benchmarks.scripted_model import configuration
from benchmarks.worker_process import worker_processes
from cli.scanning import TopicScanner, topic_scanner
from embedded import embedded_services
from embedded.addresses import EmbeddedAddresses
from schemas.settings import BufferSettings, Settings
from streams.clients import consumer, producer
from streams.topics import Topics, ensure_topics
from streams.worker import ROLES
from tests.support.expected_memory import windows_of

CALL_S: Final = 1.0
CONCURRENCY: Final = 256
USERS: Final = (1, 50, 200)
ALONE: Final = 100
# At once, before anything is measured: the broker compiles what it runs, and connections are made.
WARM_UP: Final = 100
WINDOWS_OF_ONE: Final = 5
WINDOW_TOKENS: Final = 1024
TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Latency:
    """`users` had their last messages sent at once."""

    name: str
    call_s: float
    users: int
    p50_s: float
    p95_s: float
    most_s: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--alone", type=int, default=ALONE, help="windows sent one after the other to a quick model")
    parser.add_argument("--users", type=int, nargs="+", default=list(USERS), help="at once, with a slow model")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    uvloop.run(_measure_all(options))


async def _measure_all(options: argparse.Namespace) -> None:
    described = machine(WORKER_PACKAGES)
    print(shown(described))
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_services(Path(folder) / "data") as addresses:
            found = [await measure_alone(addresses, options.alone)]
            found += await measure_at_once(addresses, options.users)
    _show(found)
    document = {
        "machine": described,
        "window_tokens": WINDOW_TOKENS,
        "concurrency": CONCURRENCY,
        "results": [asdict(item) for item in found],
    }
    print(f"\nwritten to {write('latency', document)}")


async def measure_alone(addresses: EmbeddedAddresses, count: int) -> Latency:
    """One user after the other; the model takes no time."""
    async with _running(addresses, "alone-", 0.0) as stream:
        took = [seconds for number in range(count) for seconds in await stream.took([f"user-{number}"])]
    return _latency("one window after the other", 0.0, 1, took)


async def measure_at_once(addresses: EmbeddedAddresses, users: Sequence[int]) -> list[Latency]:
    """Users whose windows close at the same moment, then windows of one user; model and embedder take a second."""
    found = []
    async with _running(addresses, "at-once-", CALL_S) as stream:
        for count in users:
            took = await stream.took([f"user-{count}-{number}" for number in range(count)])
            found.append(_latency("users at once", CALL_S, count, took))
        took = await stream.took(["one"], WINDOWS_OF_ONE)
        found.append(_latency(f"{WINDOWS_OF_ONE} windows of one user at once", CALL_S, 1, took))
    return found


class Stream:
    """Sends windows of users, and sees their changes."""

    def __init__(
        self, topics: Topics, client: AIOKafkaProducer, reader: AIOKafkaConsumer, scanner: TopicScanner
    ) -> None:
        self._topic = topics.chat_messages
        self._group = topics.buffer_group
        self._scanner = scanner
        self._client = client
        self._reader = reader
        self._window = window_records()

    async def took(self, users: Sequence[str], windows: int = 1) -> list[float]:
        """For each user, from sending the last message to the event that names the last of so many windows.

        All other messages are buffered before, but where there are several windows of a user: there all are sent at
        once.
        """
        before = self._window[:-1] if windows == 1 else []
        after = self._window[-1:] if windows == 1 else self._window * windows
        for user in users:
            await self._send(user, before, 0)
        await self._client.flush()
        await self._scanner.caught_up(self._group, self._topic)
        begin = time.perf_counter()
        for user in users:
            await self._send(user, after, len(before))
        await self._client.flush()
        seen: dict[str, set[str]] = {user: set() for user in users}
        took: dict[str, float] = {}
        async with asyncio.timeout(TIMEOUT_S):
            while len(took) < len(users):
                for records in (await self._reader.getmany(timeout_ms=100)).values():
                    now = time.perf_counter()
                    for record in records:
                        change = orjson.loads(record.value)
                        user = change["user_id"]
                        seen.setdefault(user, set()).update(change["source"]["window_ids"])
                        if user not in took and user in users and len(seen[user]) >= windows:
                            took[user] = now - begin
        return list(took.values())

    async def _send(self, user: str, records: Sequence[dict[str, Any]], first: int) -> None:
        for number, record in enumerate(records, start=first):
            value = {**record, "user_id": user, "id": f"{self._topic}-{user}-{number}"}
            await self._client.send(self._topic, orjson.dumps(value), key=user.encode())


def window_records() -> list[dict[str, Any]]:
    """As many records of one user as close a window."""
    lines = [value for _, value in conversations(200, 1)]
    buffer = BufferSettings(tokenizer="estimate", max_chat_blob_buffer_token_size=WINDOW_TOKENS)
    count = len(windows_of(lines, buffer)[0].units)
    return [orjson.loads(line) for line in lines[:count]]


@asynccontextmanager
async def _running(addresses: EmbeddedAddresses, topic_prefix: str, call_s: float) -> AsyncIterator[Stream]:
    configured = configuration(
        kafka={"bootstrap_servers": addresses.bootstrap_servers, "topic_prefix": topic_prefix, "partitions": 4},
        storage={"database_url": addresses.database_url},
        buffer={"max_chat_blob_buffer_token_size": WINDOW_TOKENS, "tokenizer": "estimate"},
        extraction={"concurrency": CONCURRENCY},
    )
    settings = Settings.model_validate(configured)
    topics = Topics(topic_prefix)
    await ensure_topics(settings.kafka, settings.buffer)
    async with (
        worker_processes(1, configured, sorted(ROLES), call_s),
        producer(settings.kafka) as client,
        consumer(settings.kafka, topics.event_updated, fetch_max_wait_ms=50) as reader,
        topic_scanner(settings.kafka) as scanner,
    ):
        stream = Stream(topics, client, reader, scanner)
        await stream.took([f"warm-up-{number}" for number in range(WARM_UP)])
        yield stream


def _latency(name: str, call_s: float, users: int, took: Sequence[float]) -> Latency:
    p50_s, p95_s = percentile(took, 0.5), percentile(took, 0.95)
    return Latency(name, call_s, users, round(p50_s, 3), round(p95_s, 3), round(max(took), 3))


def _show(found: Sequence[Latency]) -> None:
    print(f"\n{'':34}{'call s':>8}{'users':>7}{'p50 s':>9}{'p95 s':>9}{'most s':>9}")
    for item in found:
        figures = f"{item.p50_s:>9.3f}{item.p95_s:>9.3f}{item.most_s:>9.3f}"
        print(f"{item.name:34}{item.call_s:>8.1f}{item.users:>7}{figures}")


if __name__ == "__main__":
    main()
