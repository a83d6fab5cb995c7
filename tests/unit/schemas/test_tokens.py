"""Token counts where tiktoken's vocabulary cannot be had."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.tokens import estimate_tokens, token_counter


def test_the_estimate_is_a_token_for_three_ascii_characters_and_one_for_any_other() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "abc", "abcd", "日本", "日a")] == [0, 1, 1, 2, 2, 2]


@given(st.text(), st.text())
def test_text_put_together_is_never_more_tokens_than_its_parts(one: str, other: str) -> None:
    assert estimate_tokens(one + other) <= estimate_tokens(one) + estimate_tokens(other)


def test_the_estimate_is_chosen_without_a_warning() -> None:
    warnings: list[str] = []
    assert token_counter("estimate", warnings.append) is estimate_tokens
    assert warnings == []
