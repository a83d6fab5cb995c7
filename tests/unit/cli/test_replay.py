"""Replays: which records, what they are expected to cost, and what a forget that was lost takes with it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from cli.replay import runs_of
from cli.replay_costs import Expected, WindowCount, check_cost, check_spent, expected
from cli.replay_finding import Found, LostForgets, check_found, outcome_of_window
from cli.replay_range import Bound, ReplayRange, beginning, chosen_partitions, ending, topic_of
from schemas.errors import ConfigurationError, NotFound
from schemas.memory import Usage
from schemas.windows import Position, Unit, Window
from storage.units import ForgetCutOff, RecordedUnit, UnitState
from storage.usage import UsageSum
from streams.topics import partition_for
from streams.windowing import WindowPolicy

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
NOW_MS = 1_796_040_000_000
TOPICS = {"chat-messages": "p-chat-messages", "extraction-windows": "p-extraction-windows"}
ANN = ("default", "ann")
# Earliest, time, duration, offset.
Given = tuple[bool, str | None, str | None, int | None]
POLICY = WindowPolicy(
    close_tokens=20,
    process_tokens=40,
    max_blobs=10,
    max_bytes=100_000,
    max_age_ms=3_600_000_000,
    flush_interval_ms=3_600_000,
)


def position(offset: int, timestamp_ms: int | None = None) -> Position:
    at_ms = 1_000 * offset if timestamp_ms is None else timestamp_ms
    return Position(topic="chat-messages", partition=0, offset=offset, timestamp_ms=at_ms)


def unit(offset: int, text: str = "hello", blob_id: str | None = None) -> Unit:
    at = position(offset)
    return Unit(
        blob_id=blob_id or f"b{offset}",
        content_hash="hash",
        token_count=0,
        occurred_at_ms=at.timestamp_ms,
        recorded_at_ms=at.timestamp_ms,
        position=at,
        content={"blob_type": "chat", "blob_data": {"messages": [{"role": "user", "content": text}]}},
    )


def spent(extractions: int, *, cost: str = "0", unpriced: int = 0) -> UsageSum:
    usage = Usage(
        completions=2 * extractions,
        embedding_calls=extractions,
        prompt_tokens=900 * extractions,
        completion_tokens=90 * extractions,
        cached_tokens=0,
        embedding_tokens=10 * extractions,
        latency_ms=0,
    )
    return UsageSum({}, extractions, 0, usage, Decimal(cost), unpriced)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("chat-messages", ("p-chat-messages", None)),
        ("p-chat-messages:0,12", ("p-chat-messages", frozenset({0, 12}))),
        ("extraction-windows:3", ("p-extraction-windows", frozenset({3}))),
    ],
)
def test_a_topic_is_named_with_or_without_prefix_and_partitions(text: str, found: object) -> None:
    assert topic_of(text, TOPICS) == found


@pytest.mark.parametrize("text", ["profiles", "chat-messages:", "chat-messages:a", "chat-messages:0;1", ""])
def test_another_topic_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--topic must be chat-messages or extraction-windows"):
        topic_of(text, TOPICS)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ((True, None, None, None), Bound()),
        ((False, "2026-11-30T12:00:00.000", None, None), Bound(time_ms=NOW_MS)),
        ((False, None, "PT1H", None), Bound(time_ms=NOW_MS - 3_600_000)),
        ((False, None, None, 17), Bound(offset=17)),
    ],
)
def test_where_to_begin_is_said_in_one_of_four_ways(given: Given, found: Bound) -> None:
    assert beginning(*given, now=NOW) == found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((False, None, None, None), "say where to begin: --to-earliest, --to-datetime"),
        ((True, None, "P1D", None), "only once"),
        ((False, "yesterday", None, None), "--to-datetime must be an ISO time"),
        ((False, None, "1 day", None), "--by-duration must be PnDTnHnMnS"),
    ],
)
def test_no_beginning_or_two_of_them_are_refused(given: Given, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        beginning(*given, now=NOW)


def test_two_ends_are_refused() -> None:
    assert ending(None, 5) == Bound(offset=5)
    with pytest.raises(ConfigurationError, match="leave one out"):
        ending("2026-11-30T12:00:00.000", 5)


def of(**options: Any) -> ReplayRange:
    return ReplayRange("chat-messages", **{"partitions": None, "begin": Bound(), "end": Bound(), **options})


def test_a_user_is_looked_for_on_their_own_partition() -> None:
    own = partition_for(b"ann", 4)
    assert chosen_partitions(of(), 4) == {0, 1, 2, 3}
    assert chosen_partitions(of(user_id="ann"), 4) == {own}
    with pytest.raises(ConfigurationError, match=f"ann is on partition {own}"):
        chosen_partitions(of(user_id="ann", partitions=frozenset({(own + 1) % 4})), 4)


def test_a_partition_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has no partition 4; they are 0 to 3"):
        chosen_partitions(of(partitions=frozenset({0, 4})), 4)


def test_windows_are_counted_as_the_buffer_cuts_them() -> None:
    count = WindowCount(POLICY, count_tokens=lambda text: len(text.split()))
    for offset in range(3):
        count.add(*ANN, unit(offset, "one two three four five six"), 100)
    # Three of them reach 20 tokens with what a line takes; bo's window is closed by nothing but time.
    count.add("default", "bo", unit(3, "one two"), 100)
    assert (count.messages, count.closed, count.windows, len(count.users)) == (4, 1, 2, 2)
    # An hour later the idle one closes first.
    late = unit(10_000, "one two")
    count.add("default", "bo", late, 100)
    assert (count.closed, count.windows) == (2, 3)
    # What is longer than a window is cut.
    count.add("default", "cy", unit(4, "word " * 90), 100)
    assert (count.closed, count.windows) == (5, 6)


def test_calls_tokens_and_cost_are_expected_by_what_was_spent() -> None:
    found = expected(30, spent(10, cost="0.5"))
    assert found == Expected(completions=60, embedding_calls=30, tokens=30_000, cost=Decimal("1.5"), by=10)
    assert expected(0, spent(0)).cost == 0


def test_a_cost_that_nobody_knows_is_above_every_limit() -> None:
    check_cost(expected(30, spent(0)), None, "USD")
    with pytest.raises(ConfigurationError, match="nothing was extracted"):
        check_cost(expected(30, spent(0)), Decimal(1000), "USD")
    with pytest.raises(ConfigurationError, match="no price"):
        check_cost(expected(30, spent(10, unpriced=5)), Decimal(1000), "USD")


def test_a_cost_above_the_limit_is_refused_with_both_numbers() -> None:
    found = expected(30, spent(10, cost="0.5"))
    check_cost(found, Decimal("1.5"), "USD")
    with pytest.raises(ConfigurationError, match=r"about 1\.50 USD, more than 1\.49"):
        check_cost(found, Decimal("1.49"), "USD")


def test_a_limit_that_a_shadow_has_reached_already_is_refused() -> None:
    check_spent(Decimal("1.49"), Decimal("1.5"), "USD")
    with pytest.raises(ConfigurationError, match=r"has cost 1\.50 USD already, and would stop at 1\.50: allow more"):
        check_spent(Decimal("1.5"), Decimal("1.5"), "USD")
    with pytest.raises(ConfigurationError, match="allow more"):
        check_spent(Decimal(0), Decimal(0), "USD")


def row(blob_id: str, state: UnitState, *, message_index: int = -1) -> RecordedUnit:
    return RecordedUnit(
        *("default", "ann", blob_id, message_index, -1, state, None, "hash", None, position(1), None, NOW)
    )


def window(*units: Unit) -> Window:
    return Window(
        window_id=UUID(int=1),
        project_id="default",
        user_id="ann",
        blob_type="chat",
        reason="tokens",
        token_count=0,
        units=units,
    )


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        ([row("b1", "applied"), row("b2", "applied")], "applied"),
        ([row("b1", "applied")], "new"),
        ([row("b1", "applied"), row("b2", "parked")], "parked"),
        ([row("b1", "applied"), row("b2", "applied", message_index=0)], "applied"),
        ([row("b1", "erased"), row("b2", "erased")], "erased"),
    ],
)
def test_a_window_is_sent_for_a_unit_that_no_row_knows(rows: list[RecordedUnit], outcome: str) -> None:
    recorded = {("default", "ann", one.blob_id): (one,) for one in rows}
    assert outcome_of_window(window(unit(1), unit(2)), recorded, None, LostForgets()) == outcome


def test_a_forget_that_is_known_is_not_sent_again() -> None:
    forgets = LostForgets()
    known = ForgetCutOff(datetime.fromtimestamp(5, UTC), {})
    assert not forgets.note(ANN, position(5), known)
    assert forgets.note(ANN, position(6), known)
    assert forgets.note(("default", "bo"), position(1), None)


def test_a_lost_forget_takes_what_came_before_and_brings_back_what_came_after() -> None:
    forgets = LostForgets()
    forgets.note(ANN, position(5), None)
    assert forgets.covers(ANN, position(4))
    assert not forgets.covers(ANN, position(6))
    assert not forgets.covers(("default", "bo"), position(4))
    recorded = {("default", "ann", f"b{offset}"): (row(f"b{offset}", "applied"),) for offset in (4, 6)}
    # What is in memory of later will go with the forget.
    assert outcome_of_window(window(unit(6)), recorded, None, forgets) == "new"
    assert outcome_of_window(window(unit(4)), recorded, None, forgets) == "erased"


def test_places_that_lie_far_apart_are_read_apart() -> None:
    assert list(runs_of([1, 2, 400, 5000, 5001])) == [[1, 2, 400], [5000, 5001]]
    assert list(runs_of([])) == []


def test_a_duration_begins_before_now() -> None:
    day_ago_ms = int((NOW - timedelta(days=1)).timestamp() * 1000)
    assert beginning(False, None, "P1D", None, now=NOW) == Bound(time_ms=day_ago_ms)


def test_a_range_that_holds_nothing_of_whom_it_is_limited_to_is_refused() -> None:
    wanted = ReplayRange("t", None, Bound(), Bound(), "shop", "ann")
    with pytest.raises(NotFound, match="nothing of user ann in project shop: check the ids"):
        check_found(Found(), wanted)
    for found in (Found(places={(0, 1)}), Found(counts=Counter(applied=1))):
        check_found(found, wanted)
    check_found(Found(), ReplayRange("t", None, Bound(), Bound()))
