"""Organize and compact are called only above their limits, and what they give is kept with where it came from."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from extraction.compact import LongMemo, Shortened, shorten_by_rule
from extraction.drafts import Entry
from extraction.memos import mentions, tokens_of
from extraction.organize import Crowd, Join
from extraction.pipeline import Pipeline
from schemas.errors import ContentRejected, ContextTooLong, RetryLater
from schemas.memory import Extraction, ExtractorIdentity, Fact, Profile, Slot, Usage
from schemas.profile_schema import ProfilePolicy, ProfileTopic, SubTopic
from schemas.windows import MessageId
from tests.unit.extraction.builders import START, applied, at, contents, fact, profile, slot
from tests.unit.extraction.deciding import CALL, ScriptedSteps, append, merged

POLICY = ProfilePolicy(max_sub_topics=3, max_memo_tokens=28)
LONG = "likes long walks in the hills; likes short walks at the beach; likes tea; likes figs"


def from_message(held: Slot, number: int) -> Slot:
    return Slot(
        held.profile_id,
        held.topic,
        held.sub_topic,
        held.content,
        held.occurred_at,
        message_ids=(MessageId(f"old/{number}"),),
    )


FULL = profile(*(from_message(slot(f"{name} things", name, day=day), day) for day, name in enumerate(("a", "b", "c"))))


@pytest.mark.parametrize(
    ("facts", "held", "calls"),
    [
        ([fact("x", "d")], profile(slot("a things", "a")), []),
        ([fact("x", "a", day=1)], FULL, ["decide"]),
        ([fact("x", "d", day=3)], FULL, ["organize"]),
        ([fact("likes rain", "a", day=1)], profile(slot(LONG, "a")), ["decide", "compact"]),
        ([fact("likes rain", "a", day=9), fact("x", "d", day=9)], FULL, ["decide", "organize"]),
        ([fact("A things", "a", day=9)], FULL, []),
    ],
)
def test_only_what_is_over_a_limit_costs_a_call(facts: list[Fact], held: Profile, calls: list[str]) -> None:
    steps = ScriptedSteps(append)
    update = merged(steps, facts, held, POLICY)
    assert steps.calls == calls
    assert update.usage == sum((CALL for _ in calls), Usage())


def test_a_topic_that_was_over_the_limit_before_is_left_until_something_changes_in_it() -> None:
    crowded = profile(*FULL.slots, slot("d things", "d"), slot("two dogs", "pets", topic="home"))
    steps = ScriptedSteps(append)
    merged(steps, [fact("a cat", "pets", topic="home", day=1)], crowded, POLICY)
    assert steps.calls == ["decide"]


def test_joined_slots_hand_over_their_messages_and_their_newest_time() -> None:
    steps = ScriptedSteps(append, lambda _: [Join((0, 1, 3), "things", "a things, b things and d things")])
    update = merged(steps, [fact("d things", "d", day=1, index=7)], FULL, POLICY)
    created, *deleted = update.changes
    assert (created.op, created.sub_topic, created.after, created.why) == (
        "c",
        "things",
        "a things, b things and d things",
        "organize",
    )
    assert (created.message_ids, created.occurred_at) == (("old/0", "old/1", "b1/7"), at(1))
    assert created.joined == ("a", "b")
    assert [(change.op, change.sub_topic, change.before, change.why) for change in deleted] == [
        ("d", "a", "a things", "organize"),
        ("d", "b", "b things", "organize"),
    ]
    assert (update.dropped, update.over_limit) == ((), ())


def test_a_slot_that_others_are_joined_into_is_updated_and_keeps_its_row() -> None:
    steps = ScriptedSteps(append, lambda _: [Join((0, 1), "b", "a things and b things")])
    update = merged(steps, [fact("d things", "d", day=5)], FULL, POLICY)
    changed = {change.sub_topic: (change.op, change.before, change.joined) for change in update.changes}
    assert changed["b"] == ("u", "b things", ("a",))
    after = applied(FULL, update).slot("interest", "b")
    assert after is not None
    assert after.profile_id == FULL.slots[1].profile_id
    assert after.message_ids == ("old/1", "old/0")


def test_a_fact_of_the_window_that_is_joined_at_once_is_in_the_joined_slot() -> None:
    steps = ScriptedSteps(append, lambda _: [Join((2, 3), "c_and_d", "c things, d things")])
    update = merged(steps, [fact("c2 things", "c", day=9), fact("d things", "d", day=9)], FULL, POLICY)
    joined = next(change for change in update.changes if change.why == "organize" and change.after)
    # The memo leaves out what the window has added to c, so the members' own words are joined in its place.
    assert joined.after == "c: c things; c: c2 things; d: d things"
    assert set(joined.message_ids) == {"old/2", "b9/0"}


def test_what_is_joined_under_the_same_name_again_is_not_labelled_again() -> None:
    first = merged(
        ScriptedSteps(append, lambda _: [Join((0, 1), "things", "")]), [fact("d things", "d", day=5)], FULL, POLICY
    )
    held = applied(FULL, first)
    assert contents(held)["interest/things"] == "a: a things; b: b things"
    order = [item.sub_topic for item in held.slots]
    joined = Join((order.index("things"), order.index("c")), "things", "")
    second = merged(ScriptedSteps(append, lambda _: [joined]), [fact("e things", "e", day=6)], held, POLICY)
    assert contents(applied(held, second))["interest/things"] == "a: a things; b: b things; c: c things"


def test_configured_sub_topics_and_single_values_keep_their_names() -> None:
    topics = (ProfileTopic(topic="interest", sub_topics=(SubTopic(name="a"), SubTopic(name="b"))),)
    policy = ProfilePolicy(slots=topics, max_sub_topics=3)
    asked: list[Crowd] = []

    def join(crowds: Sequence[Crowd]) -> list[Join]:
        asked.extend(crowds)
        return [Join((0, 1), "ab", "a things, b things"), Join((1, 3), "bd", "b things, d things")]

    update = merged(ScriptedSteps(append, join), [fact("d things", "d", day=5)], FULL, policy)
    assert asked[0].fixed == {("interest", "a"), ("interest", "b")}
    assert contents(applied(FULL, update)) == {
        "interest/a": "a things",
        "interest/b": "b things, d things",
        "interest/c": "c things",
    }


@pytest.mark.parametrize("error", [ContentRejected("no"), ContextTooLong("no")])
def test_where_tidying_is_refused_everything_stays_and_the_reason_is_noted(
    error: ContentRejected | ContextTooLong,
) -> None:
    error.add_usage(Usage(completions=2))

    def refuse(*_: object) -> list[Join]:
        raise error

    steps = ScriptedSteps(append, refuse)
    update = merged(steps, [fact("d things", "d", day=5)], FULL, POLICY)
    assert contents(applied(FULL, update))["interest/d"] == "d things"
    assert [(note.topic, note.sub_topic, note.reason) for note in update.over_limit] == [
        ("interest", None, "not-joined")
    ]
    assert update.usage.completions == 2


def test_what_was_spent_before_an_endpoint_went_away_is_told() -> None:
    def gone(*_: object) -> list[Join]:
        raise RetryLater("away")

    with pytest.raises(RetryLater) as caught:
        merged(ScriptedSteps(append, gone), [fact("x", "a", day=9), fact("d things", "d", day=9)], FULL, POLICY)
    assert caught.value.usage == CALL


def test_a_long_memo_gives_way_to_the_shorter_one_and_history_can_tell_what_it_was() -> None:
    held = profile(slot(LONG))
    short = "likes walks, tea, figs and rain"
    update = merged(
        ScriptedSteps(append, shorten=lambda _item, _limit: Shortened(short)), [fact("likes rain", day=1)], held, POLICY
    )
    (change,) = update.changes
    assert (change.before, change.after, change.why) == (LONG, short, "compact")
    assert (change.message_ids, update.dropped, update.over_limit) == (("b1/0",), (), ())


def test_a_shortened_memo_that_is_what_is_stored_is_no_change() -> None:
    held = profile(slot("likes tea and figs", day=3))
    steps = ScriptedSteps(append, shorten=lambda _item, _limit: Shortened("likes tea and figs"))
    policy = ProfilePolicy(max_memo_tokens=8)
    update = merged(steps, [fact("likes figs", day=3)], held, policy)
    assert update.changes == ()
    assert [reason for _, reason in update.dropped] == ["identical"]


def test_a_statement_older_than_a_full_slot_takes_nobodys_place() -> None:
    held = profile(slot(LONG, day=5))
    steps = ScriptedSteps(append)
    update = merged(steps, [fact("likes rain", day=1)], held, POLICY)
    assert (update.changes, steps.calls) == ((), ["decide"])
    assert [reason for _, reason in update.dropped] == ["full"]


def held_with(content: str, *facts: Fact, day: int = 0) -> Entry:
    stored = slot(content, day=day)
    return Entry("interest", "foods", "; ".join([content, *(item.memo for item in facts)]), stored, facts, why="append")


def test_by_rule_the_newest_statements_stay_each_once() -> None:
    entry = held_with("oldest; likes tea; Likes tea.; newer", fact("newest", day=1))
    assert shorten_by_rule(entry, tokens_of("Likes tea.; newer; newest")) == Shortened("Likes tea.; newer; newest")


def test_by_rule_a_statement_that_is_not_newer_gives_way_and_is_told() -> None:
    late, new = fact("late and long", day=0), fact("new", day=9)
    entry = held_with("kept", late, new, day=5)
    assert shorten_by_rule(entry, tokens_of("kept; new")) == Shortened("kept; new", (late,))


def test_by_rule_a_statement_that_is_known_in_part_stays_whole_or_leaves_what_is_known() -> None:
    said, newest = fact("likes tea; likes figs", day=1), fact("has two dogs", day=9)
    entry = held_with("likes tea; rain", said, newest)
    whole = "likes tea; likes figs; has two dogs"
    assert shorten_by_rule(entry, tokens_of(whole)) == Shortened(whole)
    assert shorten_by_rule(entry, tokens_of(whole) - 1) == Shortened("rain; likes tea; has two dogs", (said,))


def test_by_rule_the_newest_statement_stays_even_if_it_is_too_long() -> None:
    new = fact("a statement of many words", day=9)
    assert shorten_by_rule(held_with("kept", new), 3) == Shortened(new.memo)


@pytest.mark.parametrize(
    ("text", "memo", "expected"),
    [
        ("enjoys green tea and figs", "likes green tea", True),
        ("enjoys coffee", "likes green tea", False),
        ("住在上海，喜欢喝茶", "喜欢茶", True),
        ("住在上海", "喜欢茶", False),
        ("likes tea", "hates rain", False),
    ],
)
def test_a_memo_counts_as_mentioned_when_most_of_its_words_are_there(text: str, memo: str, expected: bool) -> None:
    assert mentions(text, memo) is expected


class SlowEmbedder:
    dimension = 2

    async def embed(self, texts: Sequence[str]) -> object:
        raise RetryLater("away")

    async def close(self) -> None:
        """Nothing is open."""


def test_an_embedding_that_fails_ends_the_merge_with_what_it_had_spent() -> None:
    extraction = Extraction(facts=(fact("x", "a", day=9),), summary="x", occurred_at=START + timedelta(days=9))
    pipeline = Pipeline(
        lambda _: ExtractorIdentity("scripted", "1", "none", ""),
        ScriptedSteps(append),
        SlowEmbedder(),  # type: ignore[arg-type]
    )
    with pytest.raises(RetryLater) as caught:
        asyncio.run(pipeline.merge(extraction, FULL, POLICY))
    assert caught.value.usage == CALL


def test_a_long_memo_that_is_asked_for_names_the_facts_to_keep() -> None:
    asked: list[LongMemo] = []

    def shorten(item: LongMemo, _: int) -> None:
        asked.append(item)

    merged(ScriptedSteps(append, shorten=shorten), [fact("likes rain", day=1)], profile(slot(LONG)), POLICY)
    assert [item.memo for item in asked[0].keep] == ["likes rain"]
