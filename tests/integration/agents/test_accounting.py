"""What attempts spend, on a real database: written once each, summed by all workers, and held to a day's budgets."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from agents import accounts
from agents.dependencies import Clock, ExtractionDeps
from agents.holds import HoldTimer
from agents.settling import Settler
from extraction.factory import create_extractor
from extraction.protocol import Extractor
from schemas.conversation import Message
from schemas.errors import ContentRejected, EndpointRefused, RetryLater
from schemas.memory import Extraction, Profile, Usage
from schemas.settings import Settings, StorageSettings
from schemas.windows import Window, WindowCommand
from storage.database import create_engine
from storage.tables import held_windows, ledger, units, usage, users
from tests.support.buffer_worker import NO_DATABASE
from tests.support.extracting import ScriptedExtractor, chat_window, command, unit, window, window_position
from tests.support.scripted_openai import Answer, Call, ScriptedOpenAI, server_error

DIMENSION = 256
EVENING = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
PRICES = {"models": {"none": {"prompt_per_million": 1_000_000}}}


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url)))
    yield engine
    await engine.dispose()


class Spender(ScriptedExtractor):
    """Spends 10 tokens a call."""

    async def extract(self, messages: Sequence[Message], profile: Profile, *rest: Any) -> Extraction:
        found = await super().extract(messages, profile, *rest)
        return Extraction(found.facts, usage=Usage(completions=1, prompt_tokens=10, latency_ms=5))


class Bench:
    """A worker's settler on a clock of the test's, in the evening."""

    def __init__(self, engine: AsyncEngine, extractor: Extractor, now: datetime = EVENING, **sections: Any) -> None:
        self.engine = engine
        self.now = now
        self.errors: list[BaseException] = []
        settings = Settings.model_validate(sections)
        self.deps = ExtractionDeps(
            engine=engine,
            extractor=extractor,
            extraction=settings.extraction,
            buffer=settings.buffer,
            worker=settings.worker,
            fatal=self.errors.append,
            clock=Clock(
                monotonic=lambda: self.now.timestamp(), now=lambda: self.now, sleep=self._sleep, jitter=lambda: 0.0
            ),
            prices=settings.prices,
            budget=settings.budget,
            hold_poll_s=0.01,
        )
        self.settler = Settler(self.deps)
        self.next_offset = 0

    async def _sleep(self, delay_s: float) -> None:
        self.now += timedelta(seconds=delay_s)

    async def settle(self, *records: Window | WindowCommand) -> bool:
        placed = []
        for record in records:
            placed.append((record, window_position(self.next_offset)))
            self.next_offset += 1
        user = (records[0].project_id, records[0].user_id)
        return await self.settler.settle(user, placed, lambda: True, asyncio.Event())

    async def rows(self, table: Any, *columns: str) -> list[tuple[Any, ...]]:
        """Sorted."""
        async with self.engine.connect() as connection:
            found = await connection.execute(select(*(table.c[name] for name in columns)))
            return sorted((tuple(row) for row in found), key=repr)

    async def until_held(self, count: int) -> None:
        """Run the hold timer until so many records are left."""
        timer = HoldTimer(self.deps, self.settler, self.errors.append)
        running = asyncio.create_task(timer.run())
        async with asyncio.timeout(60):
            while len(await self.rows(held_windows, "ledger_id")) > count or await self._any_due():
                assert not self.errors
                await asyncio.sleep(0.01)
        await timer.stop(5.0)
        await running

    async def _any_due(self) -> bool:
        """Whether the first held record of a user may be tried now, or is being tried."""
        async with self.engine.connect() as connection:
            first = select(func.min(held_windows.c.number)).group_by(held_windows.c.project_id, held_windows.c.user_id)
            query = select(held_windows.c.due_at, held_windows.c.claimed_by).where(held_windows.c.number.in_(first))
            rows = (await connection.execute(query)).all()
        return any(row.due_at <= self.now or row.claimed_by is not None for row in rows)


async def test_an_extraction_leaves_what_it_spent_with_its_windows(engine: AsyncEngine) -> None:
    bench = Bench(engine, Spender(), prices=PRICES)
    one, two = chat_window("a", "one"), chat_window("b", "two")
    await bench.settle(one, two)
    columns = ("user_id", "outcome", "model", "completions", "prompt_tokens", "latency_ms", "cost", "recorded_at")
    assert await bench.rows(usage, *columns) == [("u1", "applied", "none", 2, 10, 5, Decimal(10), EVENING)]
    assert await bench.rows(usage, "window_ids") == [([one.window_id, two.window_id],)]


async def test_what_calls_nobody_leaves_no_row(engine: AsyncEngine) -> None:
    bench = Bench(engine, Spender())
    await bench.settle(window(unit("picture", blob_type="image")))
    await bench.settle(chat_window("a", "one"))
    await bench.settle(chat_window("a", "one"), command())
    assert len(await bench.rows(usage, "attempt_id")) == 1


async def test_an_attempt_that_fails_shows_what_it_spent_and_the_next_one_its_own(engine: AsyncEngine) -> None:
    failures = [1, 1]

    async def fail(extraction: Extraction, profile: Profile) -> None:
        if failures:
            error = EndpointRefused("no quota") if len(failures) > 1 else RetryLater("away")
            failures.pop()
            error.add_usage(Usage(completions=1, prompt_tokens=3))
            raise error

    extractor = Spender()
    extractor.merge_rule = fail
    bench = Bench(engine, extractor)
    await bench.settle(chat_window("a", "one"))
    assert await bench.rows(usage, "outcome", "completions", "prompt_tokens") == [
        ("applied", 2, 10),
        ("waiting", 2, 13),
        ("waiting", 2, 13),
    ]


async def test_failures_that_cost_nothing_leave_no_rows(engine: AsyncEngine) -> None:
    failures = [RetryLater("away")] * 5

    async def away(messages: Sequence[Message]) -> None:
        if failures:
            raise failures.pop()

    bench = Bench(engine, Spender(away))
    await bench.settle(chat_window("a", "one"))
    assert await bench.rows(usage, "outcome") == [("applied",)]


async def test_rejected_pieces_and_the_second_extraction_after_a_lost_race_are_counted(engine: AsyncEngine) -> None:
    async def poison(messages: Sequence[Message]) -> None:
        if any("poison" in message.content for message in messages):
            error = ContentRejected("the reply did not validate")
            error.add_usage(Usage(completions=2, prompt_tokens=100))
            raise error

    extractor = Spender(poison)
    bench = Bench(engine, extractor)
    other = Bench(engine, Spender())

    async def another_worker_is_quicker(extraction: Extraction, profile: Profile) -> None:
        extractor.merge_rule = None
        await other.settle(chat_window("a", "one"))

    extractor.merge_rule = another_worker_is_quicker
    await bench.settle(window(unit("a", "one"), unit("b", "poison")))
    # Three calls, two of them rejected, and a merge; the race was lost, so "poison" was asked about once more.
    assert await bench.rows(usage, "outcome", "completions", "prompt_tokens") == [
        ("applied", 2, 10),
        ("parked", 8, 310),
    ]


async def test_a_merge_that_is_repeated_for_a_newer_profile_is_paid_twice(engine: AsyncEngine) -> None:
    extractor = Spender()
    bench, other = Bench(engine, extractor), Bench(engine, Spender())

    async def another_worker_is_quicker(extraction: Extraction, profile: Profile) -> None:
        extractor.merge_rule = None
        await other.settle(chat_window("z", "meanwhile"))

    extractor.merge_rule = another_worker_is_quicker
    await bench.settle(chat_window("a", "one"))
    assert await bench.rows(usage, "completions", "prompt_tokens") == [(2, 10), (3, 10)]


async def test_what_postgres_did_not_take_is_written_with_the_next_attempt(engine: AsyncEngine) -> None:
    failures = [RetryLater("away")]

    async def fail(extraction: Extraction, profile: Profile) -> None:
        if failures:
            raise failures.pop()

    extractor = Spender()
    extractor.merge_rule = fail
    bench = Bench(engine, extractor)
    waiting = text("SELECT pid FROM pg_locks WHERE relation = 'usage'::regclass AND NOT granted")
    with capture_logs() as logs:
        async with engine.connect() as other, asyncio.timeout(60):
            await other.execute(text("LOCK TABLE usage IN ACCESS EXCLUSIVE MODE"))
            running = asyncio.create_task(bench.settle(chat_window("a", "one")))
            while (pid := await other.scalar(waiting)) is None:
                await asyncio.sleep(0.01)
            await other.execute(select(func.pg_cancel_backend(pid)))
            while not any(entry["event"] == "usage.not_written" for entry in logs):
                await asyncio.sleep(0.01)
            await other.rollback()
            await running
    assert await bench.rows(usage, "outcome", "prompt_tokens") == [("applied", 10), ("waiting", 10)]


async def test_of_what_postgres_does_not_take_for_long_the_newest_is_kept(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "MAX_UNWRITTEN", 2)
    bench = Bench(engine, Spender())
    away = create_engine(StorageSettings(database_url=SecretStr(NO_DATABASE)))
    kept = accounts.Accounts(replace(bench.deps, engine=away))
    with capture_logs() as logs:
        for spent in (1, 2, 3, 4):
            # The last one finds Postgres again.
            kept._deps = bench.deps if spent == 4 else kept._deps
            meter = accounts.Meter(uuid4())
            meter.add(Usage(completions=1, prompt_tokens=spent))
            await kept.record_apart(kept.attempt(meter, ("default", "u1"), [chat_window("a")], "waiting"))
    await away.dispose()
    # The fourth pushed out the second before it could be written.
    assert await bench.rows(usage, "prompt_tokens") == [(3,), (4,)]
    assert [entry["attempts"] for entry in logs if entry["event"] == "usage.dropped"] == [1, 1]


async def test_an_attempt_that_is_cut_short_by_the_shutdown_shows_what_it_spent(engine: AsyncEngine) -> None:
    merging = asyncio.Event()

    async def hang(extraction: Extraction, profile: Profile) -> None:
        merging.set()
        await asyncio.Event().wait()

    extractor = Spender()
    extractor.merge_rule = hang
    bench = Bench(engine, extractor)
    running = asyncio.create_task(bench.settle(chat_window("a", "one")))
    await merging.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await bench.rows(usage, "outcome", "prompt_tokens") == [("stopped", 10)]


async def test_the_rows_hold_exactly_what_a_server_served_with_repairs_bisection_and_failures(
    engine: AsyncEngine,
) -> None:
    def answer(call: Call) -> Answer:
        if "poison" in call.prompt:
            return "no JSON at all"
        if "stutter" in call.prompt and len(call.body["messages"]) == 2:
            return '{"facts": "none"}'
        return None

    async with ScriptedOpenAI(answer, dimension=DIMENSION) as server:
        settings = Settings.model_validate(
            {
                "extraction": {"provider": "openai"},
                "llm": {"base_url": server.base_url, "max_retries": 0},
                "embedding": {"dimension": DIMENSION, "model": "vectors"},
            }
        )
        extractor = create_extractor(settings)
        bench = Bench(engine, extractor)
        await bench.settle(chat_window("a", "fact work/company: Acme", "event: began at Acme"))
        # With a merge, a reply that has to be repaired, and a message that nothing helps.
        await bench.settle(
            window(unit("b", "fact work/company: Bolt", "stutter"), unit("c", "poison", "event: met Bo"))
        )
        server.fail("merge", server_error(), server_error())
        await bench.settle(chat_window("d", "fact work/company: Crux", "event: left Bolt", offset=2))
        await extractor.close()
    async with engine.connect() as connection:
        total = (
            await connection.execute(
                select(
                    func.sum(usage.c.prompt_tokens + usage.c.embedding_tokens),
                    func.sum(usage.c.completion_tokens),
                    func.sum(usage.c.completions),
                    func.sum(usage.c.embedding_calls),
                )
            )
        ).one()
    # What answered with an error was a call, but no completion.
    completions = len(server.calls) - server.count("embed") - 2
    assert tuple(total) == (server.prompt_tokens, server.completion_tokens, completions, server.count("embed"))
    states = await bench.rows(units, "state")
    assert states.count(("parked",)) == 1
    assert set(await bench.rows(usage, "model", "outcome")) == {
        ("gpt-4o-mini", "applied"),
        ("gpt-4o-mini", "waiting"),
        ("vectors", "applied"),
        ("vectors", "waiting"),
    }


async def test_the_offline_extractor_spends_nothing(engine: AsyncEngine) -> None:
    extractor = create_extractor(Settings())
    bench = Bench(engine, extractor)
    await bench.settle(chat_window("a", "I live in Bergen"))
    await extractor.close()
    counts = ("outcome", "completions", "embedding_calls", "prompt_tokens", "embedding_tokens", "cost")
    assert await bench.rows(usage, *counts) == [("applied", 0, 0, 0, 0, Decimal(0))]


async def test_a_user_over_the_budget_is_held_and_others_go_on(engine: AsyncEngine) -> None:
    bench = Bench(engine, Spender(), budget={"user_tokens_a_day": 20})
    with capture_logs() as logs:
        for number in range(4):
            assert await bench.settle(chat_window(f"a{number}", "one", offset=number))
        assert await bench.settle(command(offset=9))
        assert await bench.settle(chat_window("b", "two", user_id="u2", offset=10))
    held = await bench.rows(held_windows, "user_id", "reason")
    assert held == [("u1", "budget")] * 3
    assert len(await bench.rows(units, "blob_id")) == 3
    assert [row[0] for row in await bench.rows(ledger, "outcome")] == ["applied"] * 3
    (reported,) = [entry for entry in logs if entry["event"] == "budget.reached"]
    assert (reported["user_id"], reported["budget"]) == ("u1", "user_tokens_a_day")
    assert not [entry for entry in logs if entry["event"] == "extraction.held"]


async def test_held_users_go_on_by_themselves_in_order_when_the_day_ends(engine: AsyncEngine) -> None:
    extractor = Spender()
    bench = Bench(engine, extractor, budget={"user_tokens_a_day": 10})
    for number in range(3):
        await bench.settle(chat_window(f"a{number}", f"text {number}", offset=number))
    await bench.until_held(2)
    assert extractor.calls == [["text 0"]]
    bench.now = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
    await bench.until_held(2)
    assert extractor.calls == [["text 0"]]
    bench.now = datetime(2026, 11, 21, tzinfo=UTC)
    await bench.until_held(0)
    assert extractor.calls == [["text 0"], ["text 1", "text 2"]]
    assert [row[0] for row in await bench.rows(ledger, "outcome")] == ["applied"] * 3


async def test_who_is_over_the_budget_again_the_next_day_waits_for_the_one_after(engine: AsyncEngine) -> None:
    extractor = Spender()
    bench = Bench(engine, extractor, budget={"user_tokens_a_day": 10})
    await bench.settle(chat_window("a0", "one"))
    await bench.settle(chat_window("a1", "two", offset=1))
    await bench.settle(command(offset=2))
    await bench.settle(chat_window("a3", "four", offset=3))
    bench.now = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    await bench.until_held(1)
    assert extractor.calls == [["one"], ["two"]]
    ((reason, due_at),) = await bench.rows(held_windows, "reason", "due_at")
    assert (reason, due_at) == ("budget", datetime(2026, 11, 22, tzinfo=UTC))
    bench.now = due_at
    await bench.until_held(0)
    assert extractor.calls == [["one"], ["two"], ["four"]]


async def test_a_higher_budget_lets_held_users_go_on_after_a_restart(engine: AsyncEngine) -> None:
    bench = Bench(engine, Spender(), budget={"project_tokens_a_day": 10})
    await bench.settle(chat_window("a", "one"))
    await bench.settle(chat_window("b", "two", user_id="u2", offset=1))
    assert await bench.rows(held_windows, "user_id", "reason") == [("u2", "budget")]
    restarted = Bench(engine, Spender(), budget={"project_tokens_a_day": 1000})
    await restarted.until_held(0)
    assert len(await restarted.rows(units, "blob_id")) == 2


async def test_a_project_over_its_budget_of_money_does_not_stop_another_one(engine: AsyncEngine) -> None:
    bench = Bench(engine, Spender(), prices=PRICES, budget={"projects": {"default": {"project_cost_a_day": 15}}})
    for number in range(3):
        await bench.settle(chat_window(f"a{number}", "one", user_id=f"u{number}", offset=number))
        await bench.settle(window(unit(f"b{number}", "one", offset=number), project_id="shop"))
    assert await bench.rows(held_windows, "project_id", "user_id") == [("default", "u2")]
    assert len(await bench.rows(units, "blob_id")) == 5


async def test_workers_see_what_the_others_have_spent(engine: AsyncEngine) -> None:
    workers = [Bench(engine, Spender(), budget={"project_tokens_a_day": 100}) for _ in range(2)]
    for number in range(20):
        # Each of them looks again after a while; near the limit it looks each time.
        worker = workers[number % 2]
        await worker.settle(chat_window(f"a{number}", "one", user_id=f"u{number}", offset=number))
        worker.now += timedelta(seconds=3)
    assert len(await workers[0].rows(units, "blob_id")) == 10
    assert len(await workers[0].rows(held_windows, "user_id")) == 10


async def test_a_budget_is_overshot_by_what_runs_side_by_side_at_most(engine: AsyncEngine) -> None:
    bench = Bench(engine, Spender(), extraction={"concurrency": 2}, budget={"project_tokens_a_day": 30})
    await asyncio.gather(
        *(bench.settle(chat_window(f"a{number}", "one", user_id=f"u{number}", offset=number)) for number in range(12))
    )
    # Three are within the budget, and one more was on its way beside the third.
    assert 3 <= len(await bench.rows(units, "blob_id")) <= 4


async def test_what_is_known_already_needs_no_budget(engine: AsyncEngine) -> None:
    bench = Bench(engine, Spender(), budget={"user_tokens_a_day": 10})
    await bench.settle(chat_window("a", "one"))
    await bench.settle(chat_window("a", "one"))
    assert await bench.rows(held_windows, "user_id") == []


async def test_what_a_forget_removes_while_it_is_extracted_is_not_applied_behind_it(engine: AsyncEngine) -> None:
    extractor = Spender()
    bench = Bench(engine, extractor, budget={"user_tokens_a_day": 10})
    await bench.settle(chat_window("a", "one"))
    # By a producer whose clock is ahead, so that the time does not tell that it came before the forget.
    late = unit("b", "two", offset=1)
    late = late.model_copy(
        update={"position": late.position.model_copy(update={"timestamp_ms": late.position.timestamp_ms + 3_600_000})}
    )
    await bench.settle(window(late))
    assert len(await bench.rows(held_windows, "user_id")) == 1

    async def forget(messages: Sequence[Message]) -> None:
        await bench.settle(command("forget-user", offset=2))

    extractor.rule = forget
    bench.now = datetime(2026, 11, 21, tzinfo=UTC)
    await bench.until_held(0)
    assert extractor.calls == [["one"], ["two"]]
    assert await bench.rows(users, "user_id") == []
    assert await bench.rows(units, "blob_id") == []
    assert await bench.rows(usage, "user_id", "prompt_tokens") == [(None, 10), (None, 10)]


async def test_a_forget_does_not_wait_for_the_next_day(engine: AsyncEngine) -> None:
    bench = Bench(engine, Spender(), budget={"user_tokens_a_day": 10})
    await bench.settle(chat_window("a", "one"))
    await bench.settle(chat_window("b", "two", offset=1))
    assert len(await bench.rows(held_windows, "user_id")) == 1
    await bench.settle(command("forget-user", offset=2))
    assert await bench.rows(held_windows, "user_id") == []
    assert await bench.rows(users, "user_id") == []
    assert await bench.rows(usage, "user_id", "prompt_tokens") == [(None, 10)]


async def test_a_forget_that_cannot_be_done_yet_is_not_put_behind_what_it_removes(engine: AsyncEngine) -> None:
    bench = Bench(engine, Spender(), budget={"user_tokens_a_day": 10})
    await bench.settle(chat_window("a", "one"))
    await bench.settle(chat_window("b", "two", offset=1))
    asked_at: list[datetime] = []
    back_at = bench.now + timedelta(seconds=2 * bench.deps.extraction.hold_after_s)

    async def end_offsets() -> dict[tuple[str, int], int]:
        asked_at.append(bench.now)
        if bench.now < back_at:
            raise RetryLater("the broker is away")
        return {}

    bench.settler = Settler(replace(bench.deps, end_offsets=end_offsets))
    await bench.settle(command("forget-user", offset=2))
    assert asked_at[-1] >= back_at
    assert await bench.rows(held_windows, "user_id") == []
    assert await bench.rows(users, "user_id") == []
