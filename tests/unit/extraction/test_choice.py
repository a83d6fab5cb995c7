"""Of one window, the rules keep what tells most, and say what becomes of the rest."""

from extraction.offline.choice import MAX_FACTS, choose
from extraction.offline.merge import covers
from schemas.memory import Fact, Profile
from schemas.profile_schema import ProfilePolicy
from tests.unit.extraction.builders import applied, fact
from tests.unit.extraction.test_merge import merge


def chosen(*facts: Fact) -> tuple[list[str], dict[str, str]]:
    kept, dropped = choose(facts, ProfilePolicy(), covers)
    return [item.memo for item in kept], {item.memo: reason for item, reason in dropped}


def test_a_taste_that_another_slot_says_with_more_words_is_dropped() -> None:
    few, more = fact("likes to read", "hobbies"), fact("loves reading books on history", "books")
    assert chosen(few, more) == ([more.memo], {few.memo: "repeated"})
    assert chosen(more, few) == ([more.memo], {few.memo: "repeated"})


def test_of_two_tastes_that_say_the_same_in_two_slots_the_first_stays() -> None:
    assert chosen(fact("likes swimming", "sports"), fact("loves to swim", "hobbies")) == (
        ["likes swimming"],
        {"loves to swim": "repeated"},
    )


def test_a_denial_does_not_repeat_what_it_denies() -> None:
    memos = ["likes green tea", "doesn't like green tea any more"]
    kept, dropped = chosen(fact(memos[0], "drinks"), fact(memos[1], "dislikes", topic="psychological"))
    assert (kept, dropped) == (memos, {})


def test_what_says_who_somebody_is_stays_and_tastes_fill_the_window_up() -> None:
    solid = [fact(f"has child {number}", "children", topic="family") for number in range(MAX_FACTS - 2)]
    tastes = [fact(f"loves thing{number}", "foods") for number in range(4)]
    kept, dropped = chosen(*tastes, *solid)
    assert kept == ["loves thing0", "loves thing1", *(item.memo for item in solid)]
    assert dropped == {"loves thing2": "full", "loves thing3": "full"}


def test_more_facts_than_that_stay_where_all_of_them_say_who_somebody_is() -> None:
    solid = [fact(f"has child {number}", "children", topic="family") for number in range(MAX_FACTS + 3)]
    kept, dropped = chosen(*solid, fact("loves tea", "drinks"))
    assert len(kept) == MAX_FACTS + 3
    assert dropped == {"loves tea": "full"}


def test_what_was_only_named_goes_before_what_is_known_to_be_something() -> None:
    named = fact("loves Radiohead", "likes")
    tastes = [fact(f"loves thing{number}", "foods") for number in range(MAX_FACTS)]
    assert chosen(named, *tastes)[1] == {named.memo: "full"}


def test_the_same_window_again_changes_nothing() -> None:
    window = [fact(f"loves thing{number}", "foods" if number % 2 else "likes") for number in range(2 * MAX_FACTS)]
    held = applied(Profile(), merge(window, Profile()))
    again = merge(window, held)
    assert again.changes == ()
    assert len(again.dropped) == len(window)
