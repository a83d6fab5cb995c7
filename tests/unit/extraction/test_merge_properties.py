"""What holds of every merge, organize and compact, with rules, a good model and the worst one."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extraction import compact, organize
from extraction.memos import contains, pieces_of, tokens_of
from extraction.offline.provider import OfflineSteps
from extraction.pipeline import Steps
from schemas.memory import Fact, Profile
from schemas.profile_schema import ProfilePolicy
from schemas.windows import MessageId
from tests.unit.extraction.builders import applied, at, contents, fact
from tests.unit.extraction.deciding import ScriptedSteps, append, join_well, merged, worst_steps

# Each example is a history of merges, and each property is tried with up to three kinds of steps.
FEWER = settings(max_examples=50)

CITY = ("contact_info", "city")
WORDS = [
    "tea",
    "likes tea",
    "two dogs",
    "Oslo",
    "上海",
    "喜欢茶；喜欢咖啡",
    "green tea; coffee",
    "a house by the sea",
    "  ",
]
POLICY = ProfilePolicy(max_sub_topics=3, max_memo_tokens=16)
NAMES = [CITY, ("basic_info", "age"), ("interest", "foods"), *(("pets", f"s{number}") for number in range(8))]

FEW_SUB_TOPICS = ProfilePolicy(max_sub_topics=3, max_memo_tokens=1_000)
SHORT_MEMOS = ProfilePolicy(max_memo_tokens=16)
ROOMY = ProfilePolicy(max_memo_tokens=1_000)

facts = st.builds(
    lambda name, memo, day: fact(memo, name[1], topic=name[0], day=day),
    st.sampled_from(NAMES),
    st.sampled_from(WORDS),
    st.integers(0, 5),
)


def numbered(said: list[list[Fact]]) -> list[list[Fact]]:
    """Each fact with a message of its own, so that what becomes of it can be told."""
    return [
        [replace(item, message_ids=(MessageId(f"w{place}/{number}"),)) for number, item in enumerate(window)]
        for place, window in enumerate(said)
    ]


histories = st.lists(st.lists(facts, max_size=12), max_size=4).map(numbered)

# A statement of two pieces of which `other` holds one already, and no room for all.
HALF_KNOWN = numbered(
    [
        [fact("喜欢茶；喜欢咖啡", "s0", topic="pets", day=0)],
        [
            fact("Oslo", "s7", topic="pets", day=5),
            fact("two dogs", "s5", topic="pets", day=1),
            fact("上海", "s0", topic="pets", day=1),
            fact("two dogs", "s2", topic="pets", day=2),
        ],
        [
            fact("a house by the sea", "s2", topic="pets", day=0),
            fact("a house by the sea", "s3", topic="pets", day=5),
            fact("喜欢茶；喜欢咖啡", "s0", topic="pets", day=3),
            fact("likes tea", "s7", topic="pets", day=0),
            fact("tea", "s4", topic="pets", day=0),
        ],
    ]
)


def by_rules(_: object) -> OfflineSteps:
    return OfflineSteps()


def well(_: object) -> ScriptedSteps:
    return ScriptedSteps(append, join_well)


GOOD = pytest.mark.parametrize("steps", [by_rules, well])


def worst(data: st.DataObject | None) -> ScriptedSteps:
    assert data is not None
    return worst_steps(data.draw, WORDS)


ANY = pytest.mark.parametrize("steps", [by_rules, well, worst])
Make = Callable[[st.DataObject | None], Steps]


@ANY
@FEWER
@given(histories, st.data())
def test_every_fact_is_in_a_change_or_dropped_with_a_reason(
    steps: Make, said: list[list[Fact]], data: st.DataObject
) -> None:
    held = Profile()
    for window in said:
        update = merged(steps(data), window, held, POLICY)
        dropped = [item for item, reason in update.dropped if reason]
        for item in window:
            homes = [change for change in update.changes if set(item.message_ids) <= set(change.message_ids)]
            assert len(homes) + dropped.count(item) == 1
            assert all(change.topic == item.topic and change.after for change in homes)
        held = applied(held, update)


@ANY
@FEWER
@given(histories, st.data())
def test_slots_are_unique_never_empty_and_changed_once_a_window(
    steps: Make, said: list[list[Fact]], data: st.DataObject
) -> None:
    held = Profile()
    for window in said:
        update = merged(steps(data), window, held, POLICY)
        names = Counter((change.topic, change.sub_topic) for change in update.changes)
        assert set(names.values()) <= {1}
        held = applied(held, update)
        names = Counter((item.topic, item.sub_topic) for item in held.slots)
        assert set(names.values()) <= {1}
        assert all(item.content.strip() for item in held.slots)


@ANY
@FEWER
@given(histories, st.data())
def test_only_topics_of_the_windows_facts_are_changed(steps: Make, said: list[list[Fact]], data: st.DataObject) -> None:
    held = Profile()
    for window in said:
        update = merged(steps(data), window, held, POLICY)
        assert {change.topic for change in update.changes} <= {item.topic for item in window}
        held = applied(held, update)


@GOOD
@FEWER
@example(HALF_KNOWN)
@given(histories)
def test_limits_hold_with_answers_that_heed_them(steps: Make, said: list[list[Fact]]) -> None:
    held = Profile()
    one_statement: set[tuple[str, str | None]] = set()
    for window in said:
        update = merged(steps(None), window, held, POLICY)
        held = applied(held, update)
        assert max(sub_topics_of(held).values(), default=0) <= POLICY.max_sub_topics
        one_statement |= {(note.topic, note.sub_topic) for note in update.over_limit}
        for item in held.slots:
            assert tokens_of(item.content) <= POLICY.max_memo_tokens or (item.topic, item.sub_topic) in one_statement
            assert tokens_of(item.content) <= 2 * POLICY.max_memo_tokens


@FEWER
@given(histories, st.data())
def test_with_any_answers_what_is_over_a_limit_is_noted_and_stays_below_the_hard_one(
    said: list[list[Fact]], data: st.DataObject
) -> None:
    held = Profile()
    for window in said:
        update = merged(worst(data), window, held, POLICY)
        held = applied(held, update)
        noted = {(note.topic, note.sub_topic) for note in update.over_limit if note.reason}
        topics = {change.topic for change in update.changes if change.before != change.after}
        for topic, count in sub_topics_of(held).items():
            assert count <= organize.HARD_LIMIT * POLICY.max_sub_topics
            assert count <= POLICY.max_sub_topics or topic not in topics or (topic, None) in noted
        for change in update.changes:
            tokens = tokens_of(change.after or "")
            if change.after != change.before and tokens > POLICY.max_memo_tokens:
                assert (change.topic, change.sub_topic) in noted
                hard_limit = compact.HARD_LIMIT * POLICY.max_memo_tokens
                assert tokens <= hard_limit or len(pieces_of(change.after or "")) == 1


@pytest.mark.parametrize(("steps", "policy"), [(by_rules, ROOMY), (by_rules, FEW_SUB_TOPICS), (well, FEW_SUB_TOPICS)])
@FEWER
@given(histories)
def test_the_same_window_again_changes_nothing(steps: Make, policy: ProfilePolicy, said: list[list[Fact]]) -> None:
    held = Profile()
    for window in said:
        held = applied(held, merged(steps(None), window, held, policy))
        assert_known(steps, policy, window, held)


# Only a first one: in a slot that is full already, news take the place of older statements that a window repeats.
@pytest.mark.parametrize("policy", [POLICY, SHORT_MEMOS])
@FEWER
@given(histories)
def test_a_first_window_that_does_not_fit_changes_nothing_when_it_comes_again(
    policy: ProfilePolicy, said: list[list[Fact]]
) -> None:
    for window in said:
        held = applied(Profile(), merged(by_rules(None), window, Profile(), policy))
        assert_known(by_rules, policy, window, held)


def assert_known(steps: Make, policy: ProfilePolicy, window: list[Fact], held: Profile) -> None:
    again = merged(steps(None), window, held, policy)
    assert again.changes == ()
    assert len(again.dropped) == len(window)


@GOOD
@FEWER
@given(histories, st.lists(st.sampled_from("ab"), min_size=4, max_size=4), st.randoms())
def test_the_order_of_windows_of_different_users_does_not_matter(
    steps: Make, windows: list[list[Fact]], owners: list[str], shuffler: random.Random
) -> None:
    said = list(zip(owners, windows, strict=False))

    def remember(order: Sequence[tuple[str, list[Fact]]]) -> dict[str, dict[str, str]]:
        shared = steps(None)
        held = {"a": Profile(), "b": Profile()}
        for user, window in order:
            held[user] = applied(held[user], merged(shared, window, held[user], POLICY))
        return {user: contents(remembered) for user, remembered in held.items()}

    users = [user for user, _ in said]
    shuffler.shuffle(users)
    queues = {user: iter([window for owner, window in said if owner == user]) for user in "ab"}
    assert remember([(user, next(queues[user])) for user in users]) == remember(said)


@ANY
@FEWER
@given(histories, st.data())
def test_what_was_said_earlier_takes_nothing_away_from_what_was_said_later(
    steps: Make, said: list[list[Fact]], data: st.DataObject
) -> None:
    held = Profile()
    for window in said:
        update = merged(steps(data), window, held, POLICY)
        for change in update.changes:
            slot = held.slot(change.topic, change.sub_topic)
            assert slot is None or change.occurred_at >= slot.occurred_at
            own = [item for item in window if set(item.message_ids) <= set(change.message_ids)]
            organized = change.why == "organize" or change.joined or any(i.sub_topic != change.sub_topic for i in own)
            if slot is None or change.after is None or organized:
                continue
            if own and all(item.occurred_at < slot.occurred_at for item in own):
                assert contains(change.after, slot.content)
        held = applied(held, update)


@ANY
@FEWER
@given(
    st.permutations([(city, day) for day, city in enumerate(["Oslo", "Paris", "Oslo", "Lima", "Paris"])]),
    st.data(),
)
def test_a_single_value_is_never_older_than_what_arrived(
    steps: Make, order: list[tuple[str, int]], data: st.DataObject
) -> None:
    held = Profile()
    for city, day in order:
        before = held.slot(*CITY)
        held = applied(held, merged(steps(data), [fact(city, CITY[1], topic=CITY[0], day=day)], held, POLICY))
        slot = held.slot(*CITY)
        assert slot is not None
        if before is not None and before.occurred_at > at(day):
            assert slot == before
    if steps is not worst:
        assert contents(held) == {"contact_info/city": "Paris"}


def sub_topics_of(held: Profile) -> Counter[str]:
    return Counter(item.topic for item in held.slots)
