"""Counters that remember."""

from api.counting import MAX_CHARACTERS, remembered
from schemas.tokens import estimate_tokens


def test_a_text_is_counted_once() -> None:
    seen: list[str] = []

    def count(text: str) -> int:
        seen.append(text)
        return len(text)

    counter = remembered(count)
    assert [counter("one"), counter("one"), counter("three")] == [3, 3, 5]
    assert seen == ["one", "three"]


def test_the_oldest_text_is_forgotten_first_and_a_long_one_is_never_kept() -> None:
    seen: list[int] = []

    def count(text: str) -> int:
        seen.append(len(text))
        return len(text)

    counter = remembered(count, max_texts=2)
    for text in ("a", "bb", "ccc", "bb", "a"):
        counter(text)
    assert seen == [1, 2, 3, 1]
    long = "x" * (MAX_CHARACTERS + 1)
    assert counter(long) == counter(long) == MAX_CHARACTERS + 1
    assert seen[4:] == [MAX_CHARACTERS + 1] * 2


def test_the_estimate_is_left_as_it_is() -> None:
    assert remembered(estimate_tokens) is estimate_tokens
