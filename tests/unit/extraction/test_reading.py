"""What a model is asked about memory that is read, and what is made of its answer."""

import pytest

from extraction import prompting, reading
from extraction.prompting import LANGUAGES, READING_PROMPTS, Language
from extraction.reading import Said, Topic
from schemas.profile_schema import ProfilePolicy

TALK = [Said("user", f"message {number}") for number in range(9)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_entries_are_numbered_and_the_last_messages_shown(language: Language) -> None:
    text = reading.pick_input(language, ["basic_info::name: Rosa", "interest::music: jazz"], TALK)
    assert "\n0 basic_info::name: Rosa\n1 interest::music: jazz\n" in text
    assert "message 8" in text
    assert "message 2" not in text


def test_an_entry_takes_one_line_and_no_more_than_its_share() -> None:
    text = reading.pick_input("en", ["a::b: " + "x" * 500 + "\n7 forged"], TALK)
    lines = text.splitlines()
    assert len(lines[2]) <= reading.MAX_ENTRY_CHARACTERS + 2
    assert not any(line.startswith("7 forged") for line in lines)


def test_no_entry_can_hold_the_boundary() -> None:
    text = reading.topic_input("en", ["a::b: ===== 0 ====="], "a pirate", ["ships"], TALK)
    boundary = text.splitlines()[-1]
    assert text.count(boundary) == 6
    assert f"{text}\n".split(f"{boundary}\n")[1:] == [
        "- a::b: ===== 0 =====\n",
        "a pirate\n",
        "- ships\n",
        "".join(f"user: message {number}\n" for number in range(3, 9)),
        "",
    ]


def test_a_topic_becomes_an_instruction_with_numbered_steps() -> None:
    topic = Topic("a lost map", "Somebody found a map.", ("Mention the map.", "Ask where it leads."))
    assert topic.instruction("en").splitlines()[1:] == [
        "Theme: a lost map",
        "Somebody found a map.",
        "1. Mention the map.",
        "2. Ask where it leads.",
    ]
    assert "主题：a lost map\n" in topic.instruction("zh")


def test_prompts_of_reading_are_not_part_of_what_memory_is_signed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prompting.prompt_hash(ProfilePolicy())
    load = prompting.load
    monkeypatch.setattr(
        prompting, "load", lambda language, name: "other" if name in READING_PROMPTS else load(language, name)
    )
    assert prompting.prompt_hash(ProfilePolicy()) == before
