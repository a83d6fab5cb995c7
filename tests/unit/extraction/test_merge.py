"""Merging loses no fact without a reason, keeps slots unique, and knows new from old."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.drafts import changes_of
from extraction.memos import equal
from extraction.merge import Answer, plan_merge, resolve
from extraction.offline.merge import covers
from extraction.offline.provider import OfflineSteps, offline_identity
from extraction.pipeline import Pipeline
from schemas.memory import Correction, Extraction, Fact, MemoryUpdate, Profile, Slot, SlotChange
from schemas.profile_schema import SINGLE_VALUED, ProfilePolicy
from tests.unit.extraction.builders import applied, at, contents, fact, profile, slot

CITY = ("contact_info", "city")
NAMES = [CITY, ("basic_info", "age"), ("interest", "foods"), ("lifestyle", "pets")]


def merge(facts: list[Fact], into: Profile) -> MemoryUpdate:
    pipeline = Pipeline(offline_identity("1"), OfflineSteps(), None)
    return asyncio.run(pipeline.merge(Extraction(facts=tuple(facts)), into, ProfilePolicy()))


facts_of_a_window = st.lists(
    st.builds(
        lambda name, memo, day, index: fact(memo, name[1], topic=name[0], day=day, index=index),
        st.sampled_from(NAMES),
        st.sampled_from(["tea", "Tea!", "likes tea", "two dogs", "Oslo", "Paris", "上海", "  ", "green tea; coffee"]),
        st.integers(0, 5),
        st.integers(0, 9),
    ),
    max_size=12,
)


@given(st.lists(facts_of_a_window, max_size=4))
def test_every_fact_is_in_a_change_or_dropped_with_a_reason(windows: list[list[Fact]]) -> None:
    held = Profile()
    for window in windows:
        update = merge(window, held)
        dropped = [item for item, reason in update.dropped if reason]
        changes = {(change.topic, change.sub_topic): change for change in update.changes}
        for item in window:
            change = changes.get((item.topic, item.sub_topic))
            in_change = change is not None and set(item.message_ids) <= set(change.message_ids)
            assert in_change or item in dropped
        held = applied(held, update)


@given(st.lists(facts_of_a_window, max_size=4))
def test_slots_are_unique_and_changed_once_a_window(windows: list[list[Fact]]) -> None:
    held = Profile()
    for window in windows:
        update = merge(window, held)
        names = [(change.topic, change.sub_topic) for change in update.changes]
        assert len(names) == len(set(names))
        held = applied(held, update)


@given(st.lists(facts_of_a_window, max_size=3), facts_of_a_window)
def test_the_same_window_again_changes_nothing(windows: list[list[Fact]], again: list[Fact]) -> None:
    held = Profile()
    for window in [*windows, again]:
        held = applied(held, merge(window, held))
    assert merge(again, held).changes == ()


@given(st.permutations([("Oslo", 1), ("Paris", 2), ("Rome", 3), ("Lima", 4)]))
def test_the_newest_statement_wins_in_whatever_order_they_arrive(order: list[tuple[str, int]]) -> None:
    held = Profile()
    for city, day in order:
        held = applied(held, merge([fact(city, "city", topic="contact_info", day=day)], held))
    assert contents(held) == {"contact_info/city": "Lima"}


@pytest.mark.parametrize("name", sorted(SINGLE_VALUED))
def test_an_older_statement_that_arrives_late_is_dropped_as_older(name: tuple[str, str]) -> None:
    topic, sub_topic = name
    held = profile(slot("new", sub_topic, topic=topic, day=5))
    update = merge([fact("old", sub_topic, topic=topic, day=1)], held)
    assert update.changes == ()
    assert [reason for _, reason in update.dropped] == ["older"]


def test_a_gathering_slot_appends_what_is_new() -> None:
    update = merge([fact("likes tea"), fact("likes figs")], profile(slot("likes tea")))
    assert [(change.op, change.before, change.after) for change in update.changes] == [
        ("u", "likes tea", "likes tea; likes figs")
    ]
    assert [reason for _, reason in update.dropped] == ["identical"]


@pytest.mark.parametrize(
    ("known", "memo", "expected"),
    [
        ("loves hiking in the woods", "likes hiking", True),
        ("likes hiking", "loves hiking in the woods", False),
        ("doesn't eat meat", "eats meat", False),
        ("喜欢爬山和游泳", "喜欢爬山", False),
        ("喜欢爬山", "喜欢爬山！", True),
    ],
)
def test_what_is_known_covers_what_says_no_more(known: str, memo: str, expected: bool) -> None:
    assert covers(known, memo) is expected


def test_texts_that_differ_in_case_width_and_marks_are_equal() -> None:
    assert equal("Likes tea.", "likes  ＴＥＡ")


def resolved(held: Profile, facts: list[Fact], *answers: Answer) -> tuple[list[SlotChange], dict[str, str]]:
    """The changes, and why each of the other facts was dropped, by memo."""
    plan = plan_merge(facts, held, ProfilePolicy())
    draft = resolve(plan, answers, held, ProfilePolicy())
    return list(changes_of(draft, held)), {item.memo: reason for item, reason in draft.dropped}


def test_answers_append_replace_or_leave_an_open_slot() -> None:
    held = profile(slot("a", "foods"), slot("b", "drinks"), slot("c", "books"), slot("d", "films"))
    facts = [fact("x", "foods"), fact("y", "drinks"), fact("z", "books"), fact("d it is", "films")]
    answers = (Answer("append"), Answer("update", "y and b"), Answer("abort"), Answer("confirm"))
    changes, dropped = resolved(held, facts, *answers)
    assert [(change.sub_topic, change.after, change.why) for change in changes] == [
        ("foods", "a; x", "append"),
        ("drinks", "y and b", "update"),
    ]
    assert dropped == {"z": "aborted", "d it is": "identical"}


def test_an_update_to_what_is_there_is_no_change() -> None:
    assert resolved(profile(slot("a")), [fact("x")], Answer("update", "a")) == ([], {"x": "identical"})


def test_an_update_to_nothing_takes_nothing_away() -> None:
    (change,), dropped = resolved(profile(slot("a")), [fact("x")], Answer("update", "  "))
    assert (change.after, change.why, dropped) == ("a; x", "append", {})


def test_a_single_value_stays_single_whatever_the_answer_is() -> None:
    held = profile(slot("Oslo", "city", topic="contact_info", day=1))
    (change,), _ = resolved(held, [fact("Paris", "city", topic="contact_info", day=2)], Answer("append"))
    assert (change.after, change.why) == ("Paris", "update")


@pytest.mark.parametrize(
    ("memo", "after"), [("drinks water", None), ("likes tea, and figs", "likes tea, and figs"), ("likes teas", None)]
)
def test_an_older_statement_may_add_to_a_newer_one_and_not_replace_it(memo: str, after: str | None) -> None:
    changes, dropped = resolved(profile(slot("likes tea", day=5)), [fact("likes figs", day=1)], Answer("update", memo))
    assert [change.after for change in changes] == ([] if after is None else [after])
    assert dropped == ({"likes figs": "older"} if after is None else {})
    assert all(change.occurred_at == at(5) for change in changes)


@pytest.mark.parametrize(("topic", "sub_topic"), [CITY, ("interest", "foods")])
def test_what_is_said_again_later_counts_from_then_on(topic: str, sub_topic: str) -> None:
    held = profile(slot("Oslo", sub_topic, topic=topic, day=1))
    update = merge([fact("oslo!", sub_topic, topic=topic, day=9)], held)
    (change,) = update.changes
    assert (change.op, change.before, change.after, change.why) == ("u", "Oslo", "Oslo", "restated")
    assert (change.occurred_at, update.dropped) == (at(9), ())
    late = merge([fact("Rome", "city", topic="contact_info", day=5)], applied(held, update))
    assert all("Oslo" in (change.after or "") or change.op == "c" for change in late.changes)


def test_an_older_value_that_arrives_after_a_restatement_is_dropped() -> None:
    held = profile(slot("Oslo", "city", topic="contact_info", day=1))
    held = applied(held, merge([fact("Oslo", "city", topic="contact_info", day=9)], held))
    update = merge([fact("Rome", "city", topic="contact_info", day=5)], held)
    assert (update.changes, [reason for _, reason in update.dropped]) == ((), ["older"])


@pytest.mark.parametrize("held", [(), (slot("Oslo", "city", topic="contact_info", day=5),)])
def test_what_was_said_before_a_slot_was_set_right_by_hand_has_no_say_in_it(held: tuple[Slot, ...]) -> None:
    corrected = Profile(1, held, (Correction("contact_info", "city", at(5)),))
    facts = [fact("Rome", "city", topic="contact_info", day=4), fact("likes figs", day=4)]
    update = merge(facts, corrected)
    assert [(item.memo, reason) for item, reason in update.dropped] == [("Rome", "older")]
    assert [change.after for change in update.changes] == ["likes figs"]


def test_what_is_said_after_a_slot_was_set_right_counts() -> None:
    corrected = Profile(1, (), (Correction("contact_info", "city", at(5)),))
    (change,) = merge([fact("Rome", "city", topic="contact_info", day=6)], corrected).changes
    assert (change.op, change.after) == ("c", "Rome")


def test_saying_a_part_of_a_slot_again_does_not_make_the_rest_newer() -> None:
    update = merge([fact("likes tea", day=9)], profile(slot("likes tea; likes figs", day=1)))
    assert (update.changes, [reason for _, reason in update.dropped]) == ((), ["identical"])


def test_a_restatement_beside_news_makes_the_slot_newer_than_older_news() -> None:
    held = profile(slot("likes tea", day=1))
    facts = [fact("likes tea", day=9), fact("likes figs", day=5)]
    changes, dropped = resolved(held, facts, Answer("update", "likes figs"))
    assert [(change.why, change.after, change.occurred_at) for change in changes] == [("restated", "likes tea", at(9))]
    assert dropped == {"likes figs": "older"}


def test_new_slots_and_known_facts_leave_nothing_to_decide() -> None:
    held = profile(slot("Likes tea."))
    plan = plan_merge([fact("likes tea"), fact("two dogs", "pets")], held, ProfilePolicy())
    assert plan.open_slots == ()
    assert [(entry.sub_topic, entry.why) for entry in plan.entries] == [("pets", "new")]
