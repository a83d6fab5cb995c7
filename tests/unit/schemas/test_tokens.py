"""Token counts where tiktoken's vocabulary cannot be had."""

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from schemas.tokens import estimate_tokens, slice_counter, token_counter


def test_the_estimate_is_a_token_for_three_ascii_characters_and_one_for_any_other() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "abc", "abcd", "日本", "日a")] == [0, 1, 1, 2, 2, 2]


@given(st.text(), st.text())
def test_text_put_together_is_never_more_tokens_than_its_parts(one: str, other: str) -> None:
    assert estimate_tokens(one + other) <= estimate_tokens(one) + estimate_tokens(other)


@pytest.mark.parametrize("text", ["x", " ", "\n", "好", "!"])
def test_a_megabyte_of_one_character_is_counted_and_does_not_end_the_process(text: str) -> None:
    # The pattern of o200k_base, with a vocabulary of single bytes, for its own is downloaded.
    pattern = "|".join(
        [
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ]
    )
    ranks = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("bytes", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    count = slice_counter(lambda part: len(encoding.encode_ordinary(part)))
    assert count(text * (1 << 20)) == len(text.encode()) << 20


def test_a_short_text_is_counted_whole() -> None:
    seen: list[str] = []

    def count(text: str) -> int:
        seen.append(text)
        return 1

    assert slice_counter(count)("word " * 2000) == 1
    assert slice_counter(count)("") == 0
    assert seen == ["word " * 2000]


def test_the_estimate_is_chosen_without_a_warning() -> None:
    warnings: list[str] = []
    assert token_counter("estimate", warnings.append) is estimate_tokens
    assert warnings == []
