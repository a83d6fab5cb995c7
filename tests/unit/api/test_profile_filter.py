"""Which entries of a profile are shown."""

from hypothesis import given
from hypothesis import strategies as st

from api.profile_filter import ProfileFilter, choose, within
from schemas.tokens import estimate_tokens
from storage.recall import Entry
from tests.unit.api.reading import entry, words

NAME = entry("basic_info", "name", "Rosa", minute=1)
CITY = entry("contact_info", "city", "Oslo", minute=2)
BOOKS = entry("interest", "books", "crime novels", minute=3)
MUSIC = entry("interest", "music", "jazz", minute=4)
FOODS = entry("interest", "foods", "soup", minute=5)
ALL = [NAME, FOODS, CITY, MUSIC, BOOKS]


def chosen(**wanted: object) -> list[Entry]:
    return choose(ALL, ProfileFilter(**wanted), words)  # type: ignore[arg-type]


def test_the_latest_comes_first() -> None:
    assert chosen() == [FOODS, MUSIC, BOOKS, CITY, NAME]


def test_entries_of_one_time_are_in_the_order_of_their_names() -> None:
    same = [entry("b", "y", "1"), entry("b", "x", "2"), entry("a", "z", "3")]
    assert [(item.topic, item.sub_topic) for item in choose(same, ProfileFilter(), words)] == [
        ("a", "z"),
        ("b", "x"),
        ("b", "y"),
    ]


def test_preferred_topics_come_first_in_the_order_in_which_they_are_named() -> None:
    assert chosen(prefer_topics=["contact_info", "basic_info"]) == [CITY, NAME, FOODS, MUSIC, BOOKS]


def test_topics_are_compared_exactly() -> None:
    assert chosen(prefer_topics=["Basic_Info", "basic"]) == chosen()
    assert chosen(only_topics=["Interest"]) == []


def test_only_the_named_topics_are_shown() -> None:
    assert chosen(only_topics=["basic_info", " contact_info "]) == [CITY, NAME]


def test_no_topic_named_means_all_topics() -> None:
    assert chosen(only_topics=[], prefer_topics=[]) == chosen()


def test_each_topic_is_cut_to_its_latest_entries() -> None:
    assert chosen(max_sub_topics=2) == [FOODS, MUSIC, CITY, NAME]


def test_the_limit_of_a_topic_beats_the_limit_of_all() -> None:
    assert chosen(max_sub_topics=1, topic_limits={"interest": 3}) == chosen()


def test_a_topic_may_be_limited_to_nothing() -> None:
    assert chosen(topic_limits={"interest": 0}) == [CITY, NAME]


def test_a_negative_limit_is_none() -> None:
    assert chosen(max_sub_topics=1, topic_limits={"interest": -1}) == chosen()


def test_limits_of_topics_are_drawn_before_the_number_of_all() -> None:
    assert chosen(max_sub_topics=1, top_k=2) == [FOODS, CITY]


def test_zero_means_no_limit_of_number_or_tokens() -> None:
    assert chosen(top_k=0, max_tokens=0, max_sub_topics=0) == chosen()


def test_the_walk_ends_at_the_first_entry_that_overflows() -> None:
    # "interest::foods: soup" is two words, "interest::books: crime novels" three.
    assert chosen(max_tokens=4) == [FOODS, MUSIC]
    assert chosen(max_tokens=6) == [FOODS, MUSIC]
    assert chosen(max_tokens=7) == [FOODS, MUSIC, BOOKS]


def test_an_entry_larger_than_the_budget_does_not_hide_the_others() -> None:
    entries = [entry("a", "long", "very " * 50, minute=2), entry("a", "short", "word", minute=1)]
    assert choose(entries, ProfileFilter(max_tokens=2), words) == entries[1:]


def test_nothing_is_shown_where_nothing_fits() -> None:
    assert chosen(max_tokens=1) == []


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.text(max_size=40), st.integers(0, 9)), max_size=12),
    st.integers(1, 60),
)
def test_the_budget_is_never_exceeded(profile: list[tuple[str, str, int]], budget: int) -> None:
    entries = [entry(topic, f"slot_{number}", text, at) for number, (topic, text, at) in enumerate(profile)]
    shown = choose(entries, ProfileFilter(max_tokens=budget), estimate_tokens)
    assert sum(estimate_tokens(f"{item.topic}::{item.sub_topic}: {item.content}") for item in shown) <= budget


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(0, 40), st.booleans())
def test_what_is_taken_is_a_row_without_gaps(sizes: list[int], budget: int, pass_over: bool) -> None:
    taken, used = within(sizes, budget, pass_over_first=pass_over)
    assert used == sum(sizes[index] for index in taken) <= budget
    assert taken == list(range(taken[0], taken[-1] + 1)) if taken else True


def test_pieces_are_counted_no_further_than_needed() -> None:
    seen = []

    def sizes() -> object:
        for size in (3, 3, 3, 3, 3):
            seen.append(size)
            yield size

    assert within(sizes(), 7) == ([0, 1], 6)  # type: ignore[arg-type]
    assert len(seen) == 3
