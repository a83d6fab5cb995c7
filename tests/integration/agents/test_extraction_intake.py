"""From records to committed offsets without a broker: errors, revocations and users that wait."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.dependencies import ExtractionDeps
from agents.intake import Intake
from schemas.conversation import Message
from schemas.errors import ContentRejected, NewerVersion, RetryLater
from schemas.settings import BufferSettings, ExtractionSettings, StorageSettings, WorkerSettings
from schemas.windows import Window, WindowCommand
from storage.database import create_engine
from storage.tables import units
from streams.tracker import Partition
from tests.support.extracting import ScriptedExtractor, chat_window

PATIENCE_S = 30.0


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url)))
    yield engine
    await engine.dispose()


@dataclass
class RawRecord:
    topic: str
    partition: int
    offset: int
    timestamp: float
    value: bytes


class Bench:
    """An intake fed by the test; `committed` is what it committed last, by partition."""

    def __init__(self, engine: AsyncEngine, extractor: ScriptedExtractor, **settings: Any) -> None:
        self.engine = engine
        self.extractor = extractor
        self.committed: dict[Partition, int] = {}
        self.errors: list[BaseException] = []
        self.records: asyncio.Queue[RawRecord] = asyncio.Queue()
        options: dict[str, Any] = {"retry_min_s": 0.01, "retry_max_s": 0.02, **settings}
        self.intake = Intake(
            ExtractionDeps(
                engine=engine,
                extractor=extractor,
                extraction=ExtractionSettings(**options),
                buffer=BufferSettings(),
                worker=WorkerSettings(shutdown_timeout_s=5.0),
                fatal=self.errors.append,
                commit_interval_s=0.01,
                hold_poll_s=0.01,
            ),
            self._commit,
        )

    def send(self, offset: int, record: Window | WindowCommand | bytes, partition: int = 0) -> None:
        value = record if isinstance(record, bytes) else record.model_dump_json().encode()
        self.records.put_nowait(RawRecord("windows", partition, offset, 1_795_000_000.0, value))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        task = asyncio.create_task(self.intake.run(self._stream()))
        try:
            yield task
        finally:
            await self.intake.stop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def applied(self) -> set[str]:
        async with self.engine.connect() as connection:
            return set((await connection.execute(select(units.c.blob_id))).scalars())

    async def until_applied(self, *blob_ids: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not set(blob_ids) <= await self.applied():
                await asyncio.sleep(0.01)

    async def until_committed(self, offset: int, partition: int = 0) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.committed.get(("windows", partition)) != offset:
                await asyncio.sleep(0.01)

    async def until_failed(self) -> BaseException:
        async with asyncio.timeout(PATIENCE_S):
            while not self.errors:
                await asyncio.sleep(0.01)
        return self.errors[0]

    async def _stream(self) -> AsyncIterator[RawRecord]:
        while True:
            yield await self.records.get()

    async def _commit(self, offsets: Mapping[Partition, int]) -> bool:
        self.committed.update(offsets)
        return True


def gate(*texts: str) -> tuple[asyncio.Event, ScriptedExtractor]:
    """An extractor that lets messages with these texts through only when the event is set."""
    opened = asyncio.Event()

    async def rule(messages: Sequence[Message]) -> None:
        if any(message.content in texts for message in messages):
            await opened.wait()

    return opened, ScriptedExtractor(rule)


async def test_a_slow_window_holds_the_commit_back_and_lets_go_of_all_when_it_is_done(engine: AsyncEngine) -> None:
    opened, extractor = gate("slow")
    bench = Bench(engine, extractor)
    async with bench.running():
        bench.send(0, chat_window("a", "slow", user_id="slow"))
        bench.send(2, chat_window("b", user_id="fast"))
        await bench.until_applied("b")
        await bench.intake.commit()
        assert bench.committed == {}
        opened.set()
        await bench.until_committed(3)


async def test_a_user_who_waits_for_the_endpoint_takes_nobody_elses_turn(engine: AsyncEngine) -> None:
    async def rule(messages: Sequence[Message]) -> None:
        if messages[0].content == "away":
            raise RetryLater("away")

    bench = Bench(engine, ScriptedExtractor(rule), concurrency=1, retry_min_s=30.0, retry_max_s=30.0)
    async with bench.running():
        bench.send(0, chat_window("a", "away", user_id="unlucky"))
        for number in range(1, 6):
            bench.send(number, chat_window(f"b{number}", user_id=f"u{number}"))
        await bench.until_applied(*(f"b{number}" for number in range(1, 6)))
        assert "a" not in await bench.applied()


async def test_one_poison_user_does_not_stop_the_others_of_the_partition(engine: AsyncEngine) -> None:
    async def rule(messages: Sequence[Message]) -> None:
        if "poison" in messages[0].content:
            raise ContentRejected("refused")

    bench = Bench(engine, ScriptedExtractor(rule))
    async with bench.running():
        bench.send(0, chat_window("a", "poison", user_id="poisoner"))
        bench.send(1, chat_window("b", user_id="other"))
        await bench.until_committed(2)


async def test_an_unexpected_error_is_fatal_and_nothing_is_committed_any_more(engine: AsyncEngine) -> None:
    async def rule(messages: Sequence[Message]) -> None:
        if messages[0].content == "bug":
            raise ZeroDivisionError

    bench = Bench(engine, ScriptedExtractor(rule))
    async with bench.running() as agent:
        bench.send(0, chat_window("a", user_id="u0"))
        await bench.until_committed(1)
        bench.send(1, chat_window("b", "bug", user_id="u1"))
        assert isinstance(await bench.until_failed(), ZeroDivisionError)
        bench.send(0, chat_window("c", user_id="u2"), partition=1)
        await bench.intake.commit()
        assert bench.committed == {("windows", 0): 1}
        assert not agent.done()


async def test_a_window_of_a_newer_version_is_fatal_and_the_agent_does_not_end_by_itself(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor())
    async with bench.running() as agent:
        bench.send(0, b'{"v": 2, "kind": "window"}')
        assert isinstance(await bench.until_failed(), NewerVersion)
        assert not agent.done()
        assert bench.committed == {}


async def test_a_window_that_finishes_after_its_partition_was_taken_away_commits_nothing(engine: AsyncEngine) -> None:
    opened, extractor = gate("slow")
    bench = Bench(engine, extractor)
    async with bench.running():
        bench.send(0, chat_window("a", "slow"))
        async with asyncio.timeout(PATIENCE_S):
            while not extractor.calls:
                await asyncio.sleep(0.01)
            bench.send(1, chat_window("b"))
            while bench.intake.pending < 2:
                await asyncio.sleep(0.01)
        await bench.intake.revoked([("windows", 0)])
        opened.set()
        await bench.until_applied("a")
        bench.send(7, chat_window("c", user_id="other"), partition=1)
        await bench.until_committed(8, partition=1)
        assert bench.committed == {("windows", 1): 8}
        assert "b" not in await bench.applied()


async def test_a_partition_that_comes_back_is_read_again_and_extracted_once(engine: AsyncEngine) -> None:
    opened, extractor = gate("slow")
    bench = Bench(engine, extractor)
    async with bench.running():
        bench.send(0, chat_window("a", "slow"))
        async with asyncio.timeout(PATIENCE_S):
            while not extractor.calls:
                await asyncio.sleep(0.01)
        await bench.intake.revoked([("windows", 0)])
        bench.send(0, chat_window("a", "slow"))
        bench.send(1, chat_window("b", "next"))
        opened.set()
        await bench.until_committed(2)
    assert sum("slow" in call for call in extractor.calls) == 1
    assert await bench.applied() == {"a", "b"}


async def test_a_user_who_waits_for_a_partition_that_was_taken_away_is_given_up(engine: AsyncEngine) -> None:
    async def rule(messages: Sequence[Message]) -> None:
        raise RetryLater("away")

    bench = Bench(engine, ScriptedExtractor(rule))
    async with bench.running():
        bench.send(0, chat_window("a"))
        async with asyncio.timeout(PATIENCE_S):
            while not bench.extractor.calls:
                await asyncio.sleep(0.01)
            await bench.intake.revoked([("windows", 0)])
            while bench.intake.pending:
                await asyncio.sleep(0.01)
    assert await bench.applied() == set()


async def test_a_user_with_too_many_windows_who_has_to_wait_is_held_so_that_others_are_read(
    engine: AsyncEngine,
) -> None:
    async def rule(messages: Sequence[Message]) -> None:
        if messages[0].content == "away":
            raise RetryLater("away", delay_s=3600.0)

    bench = Bench(engine, ScriptedExtractor(rule), max_pending_windows_per_user=2, hold_after_s=3600.0)
    async with bench.running():
        for number in range(4):
            bench.send(number, chat_window(f"a{number}", "away", user_id="unlucky", offset=number))
        bench.send(4, chat_window("b", user_id="other"))
        await bench.until_applied("b")
        await bench.until_committed(5)
    assert await bench.applied() == {"b"}
