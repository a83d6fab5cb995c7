"""Whether words stand in a message, whatever a model did to their looks, and which part of it they are."""

import unicodedata
from datetime import UTC, datetime
from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.quotes import MAX_PLACES, MAX_QUOTE_CHARACTERS, QuoteFinder, find_span
from schemas.conversation import Message
from schemas.memory import Quote
from schemas.windows import MessageId


def message(index: int, content: str) -> Message:
    return Message(MessageId(f"b/{index}"), "user", content, datetime(2026, 1, 1, tzinfo=UTC))


def found(words: str, text: str) -> str | None:
    span = find_span(words, text)
    return None if span is None else text[span[0] : span[1]]


@pytest.mark.parametrize(
    ("words", "text", "standing"),
    [
        ("moved to Oslo", "Yes, I moved to Oslo.", "moved to Oslo"),
        ("MOVED TO OSLO", "Yes, I moved to Oslo.", "moved to Oslo"),
        ('"I moved   to\nOslo."', "I moved to  Oslo", "I moved to  Oslo"),
        ("i'm a nurse", "I’m a nurse now", "I’m a nurse"),
        ('called "Rex"', "a dog called “Rex”", "called “Rex"),
        ("well-known", "a well\u2010known one", "well\u2010known"),
        ("I moved to Oslo", "Ｉ ｍｏｖｅｄ　to Oslo", "Ｉ ｍｏｖｅｄ　to Oslo"),
        ("café", "the cafe\u0301 there", "cafe\u0301"),
        ("cafe\u0301", "the café there", "café"),
        ("STRASSE", "eine Straße.", "Straße"),
        ("我住在上海", "你好，我住在上海，你呢", "我住在上海"),
        ("“上海”", "我住在上海", "上海"),
        ("28岁", "今年２８岁了", "２８岁"),
        ("Oslo", "Os\u200blo it is", "Os\u200blo"),
        ("❤️ cats", "I ❤️ cats", "❤️ cats"),
        ("wait… what", "wait... what", "wait... what"),
    ],
)
def test_looks_make_no_difference_and_what_stands_in_the_text_is_found(words: str, text: str, standing: str) -> None:
    assert found(words, text) == standing


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("I live in Oslo", "I moved to Oslo"),
        ("art", "I start tomorrow"),
        ("cafe", "the café there"),
        ("cafe", "the cafe\u0301 there"),
        ("5", "it was 50"),
        ("nowhere", "now here"),
        ("", "anything"),
        ("...", "well ..."),
        ("Oslo", ""),
    ],
)
def test_other_words_and_parts_of_words_are_not_found(words: str, text: str) -> None:
    assert find_span(words, text) is None


def test_the_first_message_that_holds_the_words_is_named_with_what_it_says() -> None:
    messages = [message(0, "Hello!"), message(1, "I moved to OSLO."), message(2, "moved to Oslo, I said")]
    finder = QuoteFinder()
    assert finder.find("moved to oslo", messages) == Quote(MessageId("b/1"), "moved to OSLO")
    assert finder.find("moved to oslo", messages[2:]) == Quote(MessageId("b/2"), "moved to Oslo")
    assert finder.find("moved to Bergen", messages) is None
    assert finder.find(None, messages) is None


def test_of_a_quote_that_is_a_whole_document_the_beginning_is_kept() -> None:
    text = "words and more words " * 100
    quote = QuoteFinder().find(text, [message(0, text)])
    assert quote is not None
    assert quote.text == text[:MAX_QUOTE_CHARACTERS]


Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
WORDS = st.lists(st.text(st.sampled_from('abc éßｶ上海İ’"5'), min_size=1, max_size=6), min_size=1, max_size=8)


@given(TEXTS, TEXTS)
def test_no_text_breaks_the_search_and_what_is_found_is_part_of_the_text(words: str, text: str) -> None:
    span = find_span(words, text)
    if span is not None:
        start, end = span
        assert 0 <= start < end <= len(text)
        assert find_span(words, text[start:end]) == (0, end - start)


@given(WORDS, st.data())
def test_whole_words_of_a_text_are_found_in_it_however_they_are_written(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    written = data.draw(st.sampled_from(["\n", "  ", "\u3000"])).join(words[start:end])
    form: Form = data.draw(st.sampled_from(get_args(Form)))
    cases = {"as it is": written, "upper": written.upper(), "lower": written.lower()}
    quoted = unicodedata.normalize(form, cases[data.draw(st.sampled_from(sorted(cases)))])
    if any(character.isalnum() for character in written):
        assert find_span(quoted, text) is not None


@pytest.mark.parametrize(("words_before", "standing"), [(400, "a"), (MAX_PLACES, None)])
def test_words_inside_of_longer_ones_are_passed_over_so_often_and_no_more(
    words_before: int, standing: str | None
) -> None:
    assert found("a", "aa " * words_before + "a") == standing
