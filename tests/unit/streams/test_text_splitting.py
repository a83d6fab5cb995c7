"""Where long texts are cut: no character lost, every part within its limit, the best border, work that stays linear."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tokens import estimate_tokens
from streams.text_splitting import CHARACTERS_AHEAD_PER_TOKEN, split_text

TEXTS = st.text(alphabet='ab .,!?;:)"\r\n\n\t1我喜欢北京。，！？”é\u0301\u200d😀🏽', max_size=400)
MEBIBYTE = 1 << 20


class Counter:
    """The estimate, which notes how often and how much it was asked."""

    def __init__(self) -> None:
        self.calls = 0
        self.characters = 0

    def __call__(self, text: str) -> int:
        self.calls += 1
        self.characters += len(text)
        return estimate_tokens(text)


@given(TEXTS, st.integers(1, 60))
def test_no_character_is_lost_and_no_part_above_the_limit(text: str, limit_tokens: int) -> None:
    parts = list(split_text(text, limit_tokens))
    assert "".join(parts) == text
    assert all(part and estimate_tokens(part) <= limit_tokens for part in parts)


@given(TEXTS, st.integers(2, 60))
def test_parts_are_cut_alike_whatever_comes_after_them(text: str, limit_tokens: int) -> None:
    parts = list(split_text(text, limit_tokens))
    for number in range(1, len(parts)):
        assert list(split_text("".join(parts[number:]), limit_tokens)) == parts[number:]


@given(TEXTS, st.integers(1, 10))
def test_a_counter_that_takes_several_tokens_a_character_ends_too(text: str, limit_tokens: int) -> None:
    def bytes_counter(part: str) -> int:
        return len(part.encode())

    parts = list(split_text(text, limit_tokens, bytes_counter))
    assert "".join(parts) == text
    assert all(bytes_counter(part) <= limit_tokens or len(part) == 1 for part in parts)


def test_a_counter_that_counts_few_tokens_still_gets_parts_within_the_limit() -> None:
    text = "x" * 10_000
    parts = list(split_text(text, 5, lambda part: len(part) // 100))
    assert "".join(parts) == text
    assert all(len(part) // 100 <= 5 for part in parts)


@pytest.mark.parametrize(
    ("text", "limit_tokens", "parts"),
    [
        ("a first part\n\nsecond. third", 7, ["a first part\n\n", "second. third"]),
        ("a first part\r\n \r\nsecond. third", 8, ["a first part\r\n \r\n", "second. third"]),
        ("a first line\nand a second. And a third", 8, ["a first line\n", "and a second. ", "And a third"]),
        ("One two. Three four. Five", 5, ["One two. ", "Three four. ", "Five"]),
        ('He said "yes!" And then left', 7, ['He said "yes!" ', "And then left"]),
        ("met Dr. J. Doe at 1.5 km, home", 8, ["met Dr. J. Doe at 1.5 ", "km, home"]),
        ("one two three, four five six", 7, ["one two three, ", "four five six"]),
        ("我喜欢北京。你呢？我也是", 7, ["我喜欢北京。", "你呢？我也是"]),
        ("他说：“好的。”然后我走了", 9, ["他说：“好的。”", "然后我走了"]),
        ("我喜欢苹果，还喜欢吃梨子", 8, ["我喜欢苹果，", "还喜欢吃梨子"]),
        ("我喜欢苹果还喜欢吃梨子", 4, ["我喜欢苹", "果还喜欢", "吃梨子"]),
        ("one two three", 3, ["one two ", "three"]),
        ("abcdefghi", 2, ["abcdef", "ghi"]),
        ("ne\u0301e\u0301e\u0301", 3, ["ne\u0301", "e\u0301e\u0301"]),
        ("我👋🏽👋🏽", 2, ["我", "👋🏽", "👋🏽"]),
        ("   ", 3, ["   "]),
        ("", 3, []),
    ],
)
def test_texts_are_cut_at_the_best_border_within_reach(text: str, limit_tokens: int, parts: list[str]) -> None:
    assert list(split_text(text, limit_tokens)) == parts


@pytest.mark.parametrize(
    "text",
    [
        "The user moved to Oslo. She likes figs, and tea.\n\n" * (MEBIBYTE // 50),
        "我喜欢北京。" * (MEBIBYTE // 18),
        "我" * (MEBIBYTE // 3),
        "x" * MEBIBYTE,
        " " * MEBIBYTE,
        "\n" * MEBIBYTE,
        "." * MEBIBYTE,
        "ab!" + ")" * MEBIBYTE,
        "\u0301" * (MEBIBYTE // 2),
        "a" * (MEBIBYTE // 2) + "我" * (MEBIBYTE // 6),
    ],
    ids=["english", "chinese", "no-stops", "one-word", "blanks", "lines", "dots", "brackets", "marks", "mixed"],
)
@pytest.mark.parametrize("limit_tokens", [20, 1000, 16_000])
def test_a_megabyte_is_split_by_work_that_grows_with_the_text_only(text: str, limit_tokens: int) -> None:
    count = Counter()
    parts = list(split_text(text, limit_tokens, count))
    assert "".join(parts) == text
    # Half filled at worst, and looked at a few times each.
    least_characters = min(limit_tokens, len(text)) // 2
    assert len(parts) <= len(text) / least_characters + 1
    assert count.calls <= 5 * len(parts)
    assert count.characters <= 3 * CHARACTERS_AHEAD_PER_TOKEN * limit_tokens * len(parts)
