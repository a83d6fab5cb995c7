"""What the extraction agent commits on a real broker: never past an open window, whoever is killed or joins."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr
from sqlalchemy import select

from schemas.settings import KafkaSettings, StorageSettings
from schemas.windows import Window
from storage.database import create_engine
from storage.tables import events, ledger, outbox, units
from streams.clients import producer
from streams.topics import Topics
from tests.support.extracting import chat_window
from tests.support.extraction_worker import BEGUN

REPOSITORY = Path(__file__).parents[3]
PATIENCE_S = 60.0


@dataclass
class Bench:
    """Topics and a database of one test, and the workers on them."""

    kafka: KafkaSettings
    database_url: str
    partitions: int
    folder: Path

    @property
    def topics(self) -> Topics:
        return Topics(self.kafka.topic_prefix)

    async def create_topic(self) -> None:
        async with self._admin() as admin:
            await admin.create_topics([NewTopic(self.topics.extraction_windows, self.partitions, 1)])

    async def send(self, *windows: Window, partition: int = 0) -> None:
        """Each window in a transaction of its own, which leaves a marker between any two."""
        name = f"{self.kafka.topic_prefix}test-{partition}"
        async with producer(self.kafka, transactional_id=name) as client:
            for window in windows:
                await self._in_transaction(
                    client, window.user_id.encode(), window.model_dump_json().encode(), partition
                )

    async def send_raw(self, value: bytes, partition: int = 0) -> None:
        async with producer(self.kafka, transactional_id=f"{self.kafka.topic_prefix}test-{partition}") as client:
            await self._in_transaction(client, b"u1", value, partition)

    async def committed(self, partition: int = 0) -> int | None:
        async with self._admin() as admin:
            offsets = await admin.list_consumer_group_offsets(self.topics.extraction_group)
        found = offsets.get(TopicPartition(self.topics.extraction_windows, partition))
        return None if found is None or found.offset < 0 else int(found.offset)

    async def rows(self, table: Any, *names: str) -> list[tuple[Any, ...]]:
        engine = create_engine(StorageSettings(database_url=SecretStr(self.database_url)))
        try:
            async with engine.connect() as connection:
                return [tuple(row) for row in await connection.execute(select(*(table.c[name] for name in names)))]
        finally:
            await engine.dispose()

    async def applied(self) -> set[str]:
        return {row[0] for row in await self.rows(units, "blob_id")}

    async def until_applied(self, windows: Sequence[Window]) -> None:
        wanted = {unit.blob_id for window in windows for unit in window.units}

        async def all_applied() -> bool:
            return wanted <= await self.applied()

        await until(all_applied)

    async def until_committed(self, offset: int, partition: int = 0) -> None:
        async def is_committed() -> bool:
            return await self.committed(partition) == offset

        await until(is_committed)

    async def until_begun(self, text: str) -> None:
        async def has_begun() -> bool:
            file = self.folder / BEGUN
            return file.exists() and text in file.read_text().splitlines()

        await until(has_begun)

    @asynccontextmanager
    async def worker(self, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
        document = {
            "bootstrap": self.kafka.bootstrap_servers,
            "prefix": self.kafka.topic_prefix,
            "partitions": self.partitions,
            "database_url": self.database_url,
            **options,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.extraction_worker",
            json.dumps(document),
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _in_transaction(self, client: Any, key: bytes, value: bytes, partition: int) -> None:
        async with client.transaction():
            await client.send_and_wait(self.topics.extraction_windows, value, key=key, partition=partition)

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap_servers)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.1)


async def stopped(process: asyncio.subprocess.Process) -> int:
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE_S):
        return await process.wait()


@pytest.fixture
async def bench(kafka_bootstrap: str, topic_prefix: str, database_url: str, tmp_path: Path) -> Bench:
    kafka = KafkaSettings(bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix)
    bench = Bench(kafka, database_url, 2, tmp_path)
    await bench.create_topic()
    return bench


async def test_a_window_that_outlasts_three_commits_and_a_kill_is_applied_after_the_restart(bench: Bench) -> None:
    slow = chat_window("slow", "stuck", user_id="slow")
    later = [chat_window(f"later{number}", user_id=f"u{number}", offset=number) for number in range(1, 11)]
    others = [chat_window(f"other{number}", user_id=f"o{number}", offset=number) for number in range(3)]
    await bench.send(slow, *later)
    async with bench.worker(stuck_on="stuck") as worker:
        await bench.until_applied(later)
        # Three commits of the other partition, one after the other, have gone past the open window.
        for number, other in enumerate(others):
            await bench.send(other, partition=1)
            await bench.until_committed(2 * number + 1, partition=1)
        assert "slow" not in await bench.applied()
        assert await bench.committed() is None
        worker.kill()
        await worker.wait()
    async with bench.worker() as worker:
        await bench.until_applied([slow])
        # Windows lie on the even offsets, markers between them.
        await bench.until_committed(21)
        assert await stopped(worker) == 0
    blobs = Counter(row[0] for row in await bench.rows(units, "blob_id"))
    assert set(blobs.values()) == {1}
    published = Counter(row[0] for row in await bench.rows(outbox, "aggregatetype"))
    assert published["event-updated"] == 14


async def test_offsets_are_committed_over_the_gaps_of_transactions_and_a_restart_begins_behind_them(
    bench: Bench,
) -> None:
    first = [chat_window(f"first{number}", user_id=f"u{number % 3}", offset=number) for number in range(5)]
    second = [chat_window(f"second{number}", user_id=f"u{number % 3}", offset=10 + number) for number in range(5)]
    await bench.send(*first)
    async with bench.worker() as worker:
        await bench.until_committed(9)
        assert await stopped(worker) == 0
    await bench.send(*second)
    async with bench.worker() as worker:
        await bench.until_committed(19)
        assert await stopped(worker) == 0
    assert {row[0] for row in await bench.rows(ledger, "outcome")} == {"applied"}


async def test_workers_that_join_and_leave_apply_every_window_once_and_in_the_users_order(bench: Bench) -> None:
    windows: dict[int, list[Window]] = {
        partition: [
            chat_window(
                f"p{partition}n{number:03}", user_id=f"p{partition}u{number % 5}", offset=1000 * partition + number
            )
            for number in range(60)
        ]
        for partition in range(2)
    }
    every = [window for some in windows.values() for window in some]
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(bench.worker(pause_s=0.1))
        for partition, some in windows.items():
            await bench.send(*some[:30], partition=partition)
        await bench.until_applied(windows[0][:5])
        await stack.enter_async_context(bench.worker(pause_s=0.1))
        for partition, some in windows.items():
            await bench.send(*some[30:], partition=partition)
        await bench.until_applied(windows[0][:35])
        first.kill()
        await first.wait()
        await bench.until_applied(every)
        await bench.until_committed(119, partition=0)
        await bench.until_committed(119, partition=1)
    assert Counter(row[0] for row in await bench.rows(units, "blob_id")) == Counter(
        unit.blob_id for window in every for unit in window.units
    )
    by_user: dict[str, list[tuple[int, int]]] = {}
    for user_id, revision, message_ids in await bench.rows(events, "user_id", "revision", "message_ids"):
        by_user.setdefault(user_id, []).extend((revision, int(m[3:6])) for m in message_ids)
    assert len(by_user) == 10
    for said in by_user.values():
        numbers = [number for _, number in sorted(said)]
        assert numbers == sorted(numbers)


@pytest.mark.chaos
async def test_a_worker_that_was_frozen_past_its_session_applies_nothing_twice(bench: Bench) -> None:
    windows = [chat_window(f"n{number:03}", user_id=f"u{number % 4}", offset=number) for number in range(40)]
    async with AsyncExitStack() as stack:
        frozen = await stack.enter_async_context(bench.worker(pause_s=0.2))
        await bench.send(*windows[:30])
        await bench.until_applied(windows[:4])
        frozen.send_signal(signal.SIGSTOP)
        second = await stack.enter_async_context(bench.worker(pause_s=0.2))
        await bench.until_applied(windows[:30])
        frozen.send_signal(signal.SIGCONT)
        await bench.send(*windows[30:])
        await bench.until_applied(windows)
        await bench.until_committed(79)
        assert await stopped(second) == 0
        assert await stopped(frozen) == 0
    said = Counter(identifier for (some,) in await bench.rows(events, "message_ids") for identifier in some)
    assert said == Counter(f"{unit.blob_id}/0" for window in windows for unit in window.units)


async def test_a_record_that_is_no_window_ends_the_worker_and_stays_uncommitted(bench: Bench) -> None:
    before = chat_window("before")
    await bench.send(before)
    await bench.send_raw(b"no window")
    await bench.send(chat_window("after", user_id="u2", offset=1))
    async with bench.worker() as worker:
        async with asyncio.timeout(PATIENCE_S):
            assert await worker.wait() == 1
    assert (await bench.committed() or 0) <= 2
    assert "after" not in await bench.applied()


async def test_stopping_lets_an_extraction_finish_and_commits_it(bench: Bench) -> None:
    await bench.send(chat_window("a", "one"))
    async with bench.worker(pause_s=1.0) as worker:
        await bench.until_begun("one")
        assert await stopped(worker) == 0
    assert "a" in await bench.applied()
    assert await bench.committed() == 1


async def test_stopping_hands_back_an_extraction_that_takes_too_long(bench: Bench) -> None:
    await bench.send(chat_window("a", "stuck"), chat_window("b", user_id="u2"))
    async with bench.worker(stuck_on="stuck", shutdown_timeout_s=0.1) as worker:
        await bench.until_applied([chat_window("b")])
        await bench.until_begun("stuck")
        assert await stopped(worker) == 0
    assert await bench.applied() == {"b"}
    assert await bench.committed() is None
