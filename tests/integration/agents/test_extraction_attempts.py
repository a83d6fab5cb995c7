"""One extraction attempt on a real database: duplicates, poison, newer profiles, and what is held."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.dependencies import utc_now
from agents.faults import CONTROL_INTERVAL_S
from agents.holds import HoldTimer
from schemas.conversation import Message
from schemas.errors import ContentRejected, ContextTooLong, EndpointRefused, RetryLater, UnexplainedRefusal
from schemas.memory import Extraction, Profile
from storage.commands import apply_command
from storage.holding import first_held_reason, hold
from storage.tables import held_windows, ledger, outbox
from tests.support.extracting import (
    ScriptedExtractor,
    chat_window,
    command,
    unit,
    window,
    window_position,
)
from tests.support.settling import Bench

USER = ("default", "u1")


async def poison(messages: Sequence[Message]) -> None:
    if any("poison" in message.content for message in messages):
        raise ContentRejected("the reply did not validate")


async def test_a_window_becomes_memory_a_ledger_row_and_units(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor())
    assert await bench.settle(chat_window("a", "one", "two"))
    assert await bench.memos() == {"a/0": "one", "a/1": "two"}
    assert await bench.rows(ledger, "outcome", order="offset") == [("applied",)]
    assert await bench.unit_states() == [("a", -1, "applied", None)]


async def test_a_window_that_comes_twice_is_applied_once_and_extracted_once(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor())
    await bench.settle(chat_window("a", "one"))
    before = await bench.rows(outbox, "id", order="number")
    await bench.settle(chat_window("a", "one"))
    assert bench.extractor.calls == [["one"]]
    assert await bench.rows(outbox, "id", order="number") == before


async def test_a_blob_that_was_applied_in_another_window_is_left_out(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor())
    await bench.settle(chat_window("a", "one"))
    await bench.settle(window(unit("a", "one"), unit("b", "two")))
    assert bench.extractor.calls == [["one"], ["two"]]
    assert await bench.rows(ledger, "applied_count", "duplicate_count", order="offset") == [(1, 0), (1, 1)]


async def test_a_blob_that_is_twice_in_the_windows_extracted_together_is_extracted_once(
    engine: AsyncEngine,
) -> None:
    bench = Bench(engine, ScriptedExtractor())
    await bench.settle(chat_window("a", "one"), window(unit("a", "one"), unit("b", "two")))
    assert bench.extractor.calls == [["one", "two"]]
    assert await bench.unit_states() == [("a", -1, "applied", None), ("b", -1, "applied", None)]


async def test_another_blob_under_a_known_id_is_parked_as_a_conflict(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor())
    await bench.settle(chat_window("a", "one"))
    await bench.settle(chat_window("a", "something else", offset=1))
    assert bench.extractor.calls == [["one"]]
    assert ("a", -1, "parked", "id-conflict") in await bench.unit_states()
    assert await bench.memos() == {"a/0": "one"}


async def test_an_image_is_parked_without_a_call(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor())
    await bench.settle(window(unit("picture", blob_type="image")))
    assert bench.extractor.calls == []
    assert await bench.unit_states() == [("picture", -1, "parked", "unsupported-content")]


async def test_one_poison_message_is_parked_and_the_rest_of_its_window_applied(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor(poison))
    await bench.settle(window(unit("a", "one"), unit("b", "two", "poison", "three")))
    assert await bench.memos() == {"a/0": "one", "b/0": "two", "b/2": "three"}
    assert await bench.unit_states() == [
        ("a", -1, "applied", None),
        ("b", 0, "applied", None),
        ("b", 1, "parked", "content-rejected"),
        ("b", 2, "applied", None),
    ]
    letters = [row for row in await bench.rows(outbox, "aggregatetype", order="number") if row[0] == "dead-letters"]
    assert len(letters) == 1


async def test_a_window_with_a_parked_piece_that_comes_again_calls_nobody_and_writes_no_second_dead_letter(
    engine: AsyncEngine,
) -> None:
    bench = Bench(engine, ScriptedExtractor(poison))
    poisoned = window(unit("b", "two", "poison"))
    await bench.settle(poisoned)
    calls, rows = len(bench.extractor.calls), await bench.rows(outbox, "id", order="number")
    await bench.settle(poisoned)
    assert len(bench.extractor.calls) == calls
    assert await bench.rows(outbox, "id", order="number") == rows


async def test_a_parked_piece_that_is_sent_again_later_is_tried_again_alone(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor(poison))
    await bench.settle(window(unit("b", "two", "poison")))
    bench.extractor.calls.clear()

    async def accept(messages: Sequence[Message]) -> None:
        """The model has learned."""

    bench.extractor.rule = accept
    redriven = unit("b", "two", "poison").model_copy(update={"position": unit("b", offset=9).position})
    await bench.settle(window(redriven))
    assert bench.extractor.calls == [["poison"]]
    assert {row[2] for row in await bench.unit_states()} == {"applied"}


async def test_a_profile_that_moved_meanwhile_is_merged_again_and_not_extracted_again(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor())
    other = Bench(engine, ScriptedExtractor())

    async def another_worker_is_quicker(extraction: Extraction, profile: Profile) -> None:
        bench.extractor.merge_rule = None
        await other.settle(chat_window("z", "meanwhile"))

    bench.extractor.merge_rule = another_worker_is_quicker
    await bench.settle(chat_window("a", "one"))
    assert len(bench.extractor.calls) == 1
    assert len(bench.extractor.merges) == 2
    assert await bench.memos() == {"a/0": "one", "z/0": "meanwhile"}


async def test_units_that_another_worker_applied_meanwhile_are_left_out(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor())
    other = Bench(engine, ScriptedExtractor())
    both = window(unit("a", "one"), unit("b", "two"))

    async def another_worker_is_quicker(extraction: Extraction, profile: Profile) -> None:
        bench.extractor.merge_rule = None
        await other.settle(chat_window("a", "one"))

    bench.extractor.merge_rule = another_worker_is_quicker
    await bench.settle(both)
    assert bench.extractor.calls == [["one", "two"], ["two"]]
    assert await bench.memos() == {"a/0": "one", "b/0": "two"}


async def test_a_topic_that_cannot_be_merged_parks_its_messages_and_applies_the_others(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor())

    async def refuse(extraction: Extraction, profile: Profile) -> None:
        if any("poison" in fact.memo for fact in extraction.facts):
            raise ContentRejected("the reply did not validate")

    bench.extractor.merge_rule = refuse
    await bench.settle(chat_window("a", "poison"))
    assert await bench.unit_states() == [("a", -1, "parked", "content-rejected")]
    assert await bench.memos() == {}


async def test_an_endpoint_that_is_away_parks_nothing_and_is_tried_until_it_is_back(engine: AsyncEngine) -> None:
    failures = [RetryLater("away"), RetryLater("away", delay_s=7.0)]

    async def away(messages: Sequence[Message]) -> None:
        if failures:
            raise failures.pop(0)

    bench = Bench(engine, ScriptedExtractor(away))
    await bench.settle(chat_window("a", "one"))
    assert bench.slept == [0.5, 7.0]
    assert await bench.unit_states() == [("a", -1, "applied", None)]


async def test_a_refused_key_fails_the_health_check_with_its_reason_until_a_call_succeeds(
    engine: AsyncEngine,
) -> None:
    failures: list[Exception] = [EndpointRefused("401: check llm.api_key")]
    seen: list[dict[str, str]] = []

    async def refused(messages: Sequence[Message]) -> None:
        seen.append(dict(bench.deps.health.problems))
        if failures:
            raise failures.pop(0)

    bench = Bench(engine, ScriptedExtractor(refused))
    await bench.settle(chat_window("a", "one"))
    assert seen == [{}, {"endpoint": "401: check llm.api_key"}]
    assert bench.deps.health.problems == {}


async def test_when_many_users_in_a_row_fail_validation_nothing_more_is_parked(engine: AsyncEngine) -> None:
    broken = [True]

    async def rule(messages: Sequence[Message]) -> None:
        if broken:
            raise ContentRejected("the reply did not validate")

    bench = Bench(engine, ScriptedExtractor(rule), failing_users_limit=3, hold_after_s=1.0)
    for number in range(6):
        await bench.settle(chat_window(f"blob{number}", "one", user_id=f"u{number}", offset=number))
    # The first two could not be told from poison.
    assert [row[0] for row in await bench.unit_states()] == ["blob0", "blob1"]
    assert len(await bench.rows(held_windows, "user_id", order="number")) == 4
    assert "endpoint" in bench.deps.health.problems
    broken.clear()
    await bench.drained()
    states = await bench.unit_states()
    assert [row[2] for row in states] == ["parked", "parked", "applied", "applied", "applied", "applied"]
    assert bench.deps.health.problems == {}


async def test_as_many_poison_users_as_blame_the_endpoint_and_nobody_else_do_not_wait_for_ever(
    engine: AsyncEngine,
) -> None:
    bench = Bench(engine, ScriptedExtractor(poison), failing_users_limit=3, hold_after_s=1e6, retry_max_s=60.0)
    for number in range(5):
        await bench.settle(chat_window(f"blob{number}", "poison", user_id=f"u{number}", offset=number))
    assert [row[2] for row in await bench.unit_states()] == ["parked"] * 5
    # The first two could not be told from poison; the others were parked one by one.
    assert bench.time_s >= 2 * CONTROL_INTERVAL_S
    await bench.settle(chat_window("fine", "one", user_id="u9", offset=9))
    assert bench.deps.health.problems == {}


async def test_an_endpoint_that_takes_only_a_control_call_parks_one_user_in_a_while(engine: AsyncEngine) -> None:
    async def rule(messages: Sequence[Message]) -> None:
        if any("figs" not in message.content for message in messages):
            raise ContentRejected("the reply did not validate")

    bench = Bench(engine, ScriptedExtractor(rule), failing_users_limit=3, hold_after_s=30.0)
    for number in range(20):
        await bench.settle(chat_window(f"blob{number}", "one", user_id=f"u{number}", offset=number))
    parked = await bench.unit_states()
    assert len(parked) <= 3 + bench.time_s / CONTROL_INTERVAL_S
    assert len(await bench.rows(held_windows, "user_id", order="number")) == 20 - len(parked)
    assert "endpoint" in bench.deps.health.problems


@pytest.mark.parametrize("error", [UnexplainedRefusal("status 400"), ContextTooLong("too long")])
async def test_one_message_that_nobody_says_why_is_refused_is_parked_and_the_rest_applied(
    engine: AsyncEngine, error: Exception
) -> None:
    async def rule(messages: Sequence[Message]) -> None:
        if any("odd" in message.content for message in messages):
            raise error

    bench = Bench(engine, ScriptedExtractor(rule))
    await bench.settle(window(unit("a", "one"), unit("b", "odd", "two")))
    assert await bench.memos() == {"a/0": "one", "b/1": "two"}
    assert [row[:3] for row in await bench.unit_states() if row[2] == "parked"] == [("b", 0, "parked")]


@pytest.mark.parametrize("error", [UnexplainedRefusal("status 400"), ContextTooLong("too long")])
async def test_an_endpoint_that_takes_nothing_and_does_not_say_why_parks_nothing(
    engine: AsyncEngine, error: Exception
) -> None:
    broken = [True]

    async def rule(messages: Sequence[Message]) -> None:
        if broken:
            raise error

    bench = Bench(engine, ScriptedExtractor(rule), hold_after_s=1.0)
    for number in range(8):
        await bench.settle(chat_window(f"blob{number}", "one", user_id=f"u{number}", offset=number))
    assert await bench.unit_states() == []
    assert {row[0] for row in await bench.rows(held_windows, "reason", order="number")} == {"endpoint-refused"}
    assert "endpoint" in bench.deps.health.problems
    broken.clear()
    await bench.drained()
    assert {row[2] for row in await bench.unit_states()} == {"applied"}


async def test_a_user_who_waits_too_long_is_held_with_what_comes_later_and_applied_in_order(
    engine: AsyncEngine,
) -> None:
    broken = [True]

    async def rule(messages: Sequence[Message]) -> None:
        if broken:
            raise RetryLater("away")

    bench = Bench(engine, ScriptedExtractor(rule), hold_after_s=3.0)
    assert await bench.settle(chat_window("a", "one", offset=0))
    assert sum(bench.slept) == 3.0
    bench.extractor.calls.clear()
    assert await bench.settle(chat_window("b", "two", offset=1))
    assert await bench.settle(command(offset=2))
    assert await bench.settle(chat_window("c", "three", offset=3))
    assert bench.extractor.calls == []
    assert await bench.rows(ledger, "ledger_id", order="offset") == []
    broken.clear()
    await bench.drained()
    # Those before the flush went together; the flush and what came after it did not.
    assert bench.extractor.calls == [["one", "two"], ["three"]]
    assert await bench.rows(ledger, "kind", "offset", order="recorded_at") == [
        ("window", 0),
        ("window", 1),
        ("flush", 2),
        ("window", 3),
    ]


async def test_a_waiting_user_whose_queue_is_full_is_held_at_once(engine: AsyncEngine) -> None:
    async def rule(messages: Sequence[Message]) -> None:
        bench.full.set()
        raise RetryLater("away")

    bench = Bench(engine, ScriptedExtractor(rule), hold_after_s=3600.0)
    assert await bench.settle(chat_window("a", "one"))
    assert len(bench.extractor.calls) == 1
    assert [row[0] for row in await bench.rows(held_windows, "reason", order="number")] == ["endpoint-away"]


async def test_a_held_user_who_fails_again_stays_held_and_is_due_later(engine: AsyncEngine) -> None:
    async def rule(messages: Sequence[Message]) -> None:
        raise RetryLater("away", delay_s=900.0)

    bench = Bench(engine, ScriptedExtractor(rule), hold_after_s=1.0)
    await bench.settle(chat_window("a", "one"))
    timer = HoldTimer(bench.deps, bench.settler, bench.errors.append)
    running = asyncio.create_task(timer.run())
    async with asyncio.timeout(30):
        while len(bench.extractor.calls) < 2:
            await asyncio.sleep(0.01)
    await timer.stop(5.0)
    await running
    ((reason, due_at, claimed_by),) = await bench.rows(held_windows, "reason", "due_at", "claimed_by", order="number")
    assert reason == "endpoint-away"
    assert due_at - utc_now() > timedelta(seconds=800)
    assert claimed_by is None


async def test_a_claim_on_a_held_user_is_renewed_for_as_long_as_the_extraction_runs(engine: AsyncEngine) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(messages: Sequence[Message]) -> None:
        asked.set()
        await answer.wait()

    bench = Bench(engine, ScriptedExtractor(slow))
    async with engine.begin() as connection:
        await hold(connection, chat_window("a"), window_position(0), "endpoint-away", utc_now())
    draining = asyncio.create_task(bench.drained())
    await asyncio.wait_for(asked.wait(), 30)
    ((first,),) = await bench.rows(held_windows, "claimed_until", order="number")
    async with asyncio.timeout(30):
        while (await bench.rows(held_windows, "claimed_until", order="number"))[0][0] <= first:
            await asyncio.sleep(0.01)
    answer.set()
    await draining
    assert bench.extractor.calls == [["text of a"]]


async def test_two_workers_share_the_held_users_and_extract_each_window_once(engine: AsyncEngine) -> None:
    broken = [True]

    async def rule(messages: Sequence[Message]) -> None:
        if broken:
            raise RetryLater("away")
        await asyncio.sleep(0.02)

    extractor = ScriptedExtractor(rule)
    first, second = (Bench(engine, extractor, hold_after_s=0.1, concurrency=2) for _ in range(2))
    for number in range(8):
        await first.settle(chat_window(f"blob{number}", f"text {number}", user_id=f"u{number}"))
    extractor.calls.clear()
    broken.clear()
    await asyncio.gather(first.drained(), second.drained())
    assert sorted(extractor.calls) == [[f"text {number}"] for number in range(8)]


async def test_a_stopped_settler_hands_back_a_user_who_waits(engine: AsyncEngine) -> None:
    async def rule(messages: Sequence[Message]) -> None:
        bench.settler.stop()
        raise RetryLater("away")

    bench = Bench(engine, ScriptedExtractor(rule))
    assert not await bench.settle(chat_window("a", "one"))
    assert await bench.unit_states() == []
    async with engine.connect() as connection:
        assert await first_held_reason(connection, *USER) is None


async def test_a_flush_leaves_a_ledger_row_and_a_forget_removes_the_user(engine: AsyncEngine) -> None:
    bench = Bench(engine, ScriptedExtractor())
    await bench.settle(chat_window("a", "one"))
    await bench.settle(command("flush", offset=1))
    assert [row[0] for row in await bench.rows(ledger, "kind", order="offset")] == ["window", "flush"]
    await bench.settle(command("forget-user", offset=2))
    assert await bench.memos() == {}
    await bench.settle(chat_window("a", "one"))
    assert await bench.memos() == {}


async def test_what_was_forgotten_while_its_model_was_away_is_erased_and_not_held(engine: AsyncEngine) -> None:
    forget = command("forget-user", offset=2)

    async def rule(messages: Sequence[Message]) -> None:
        async with engine.begin() as connection:
            await apply_command(connection, forget, forget.position, utc_now(), uuid4)
        bench.full.set()
        raise RetryLater("away")

    bench = Bench(engine, ScriptedExtractor(rule), hold_after_s=3600.0)
    assert await bench.settle(chat_window("a", "one", offset=1))
    assert len(bench.extractor.calls) == 1
    assert await bench.rows(held_windows, "payload", order="number") == []
    assert await bench.rows(ledger, "kind", "outcome", "user_id", order="kind") == [
        ("forget-user", "done", None),
        ("window", "erased", None),
    ]
