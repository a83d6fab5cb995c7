"""A model that reads a conversation can tell when things were said, and by whom."""

import pytest

from extraction import prompting
from extraction.prompting import LANGUAGES, Language
from schemas.memory import Profile
from schemas.profile_schema import ProfilePolicy
from tests.unit.extraction.builders import said


def weekdays(language: Language, *said_at: str | None) -> str:
    messages = [said("I start next Friday", day=day)[0]._replace(said_at=text) for day, text in enumerate(said_at)]
    text = prompting.extract_input(language, messages, Profile(), ProfilePolicy())
    mark = {"en": "Weekdays: ", "zh": "星期："}[language]
    return next(line for line in text.splitlines() if line.startswith(mark)).removeprefix(mark)


def test_every_date_before_a_message_is_named_with_its_weekday_once() -> None:
    messages = [*said("one", "two", day=0), *said("three", day=1)]
    text = prompting.extract_input("en", messages, Profile(), ProfilePolicy())
    assert "Weekdays: 2026/01/01 Thu, 2026/01/02 Fri\n" in text
    assert weekdays("zh", None, None) == "2026/01/01 周四, 2026/01/02 周五"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_producers_own_date_counts_as_it_stands_before_the_message(language: Language) -> None:
    day = {"en": "Mon", "zh": "周一"}[language]
    assert weekdays(language, "2023-05-08 1:56 pm", "last week", "2023-02-31", "2023/5/8") == (
        f"2023-05-08 {day}, 2023/5/8 {day}"
    )
    assert weekdays(language, "yesterday") == "-"


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_speaks_is_named_by_alias_and_role(language: Language) -> None:
    message = said("I moved")[0]._replace(alias="Ann")
    text = prompting.extract_input(language, [message], Profile(), ProfilePolicy())
    assert "0 [2026/01/01] Ann(user): I moved" in text


@pytest.mark.parametrize(("language", "words"), [("en", "64 words"), ("zh", "128 字")])
def test_the_limit_of_a_memo_is_said_in_words_a_model_can_count(language: Language, words: str) -> None:
    assert words in prompting.merge_system(language, ProfilePolicy())
    assert words in prompting.organize_system(language, 128)
    assert words not in prompting.compact_system(language, 128)
