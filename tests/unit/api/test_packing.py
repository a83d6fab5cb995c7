"""The text of a context, to the letter."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.lines import gist_line
from api.packing import Budget, Packed, compose, pack
from schemas.errors import InvalidRecord
from schemas.tokens import estimate_tokens
from tests.unit.api.reading import entry, gist, words

GUS = entry("basic_info", "name", "Gus")
CITY = entry("contact_info", "city", "Oslo")
CAR = gist("User bought a car.", datetime(2024, 4, 30, tzinfo=UTC))
DOG = gist("User adopted a dog.", datetime(2024, 5, 2, tzinfo=UTC))

ENGLISH = """---
# Memory
Unless the user has relevant queries, do not actively mention those memories in the conversation.
## User Current Profile:
- basic_info::name: Gus

## Past Events:
- User bought a car. [mention 2024/04/30] // event
---
"""

CHINESE = """---
# 记忆
除非用户有相关的需求，否则不要主动在对话中提到这些记忆.
## 用户当前状态：
- basic_info::name: Gus

## 过去事件：
- User bought a car. [mention 2024/04/30] // event
---
"""

EMPTY = ENGLISH.replace("- basic_info::name: Gus", "- ").replace(
    "- User bought a car. [mention 2024/04/30] // event", ""
)


def packed(profile_section: str = "P", event_section: str = "E") -> Packed:
    return Packed(profile_section, event_section, (), (), 1, 1)


def test_the_english_text_is_memobases() -> None:
    assert compose(pack([GUS], [CAR], Budget(1000), words), "en") == ENGLISH


def test_the_chinese_text_is_memobases() -> None:
    assert compose(pack([GUS], [CAR], Budget(1000), words), "zh") == CHINESE


def test_a_user_of_whom_nothing_is_known_has_the_empty_template() -> None:
    assert compose(pack([], [], Budget(1000), words), "en") == EMPTY


def test_lines_are_joined_by_line_breaks() -> None:
    found = pack([GUS, CITY], [CAR, DOG], Budget(1000), words)
    assert found.profile_section == "- basic_info::name: Gus\n- contact_info::city: Oslo"
    assert found.event_section == (
        "- User bought a car. [mention 2024/04/30] // event\n- User adopted a dog. [mention 2024/05/02] // event"
    )


def test_the_day_of_an_event_is_that_of_utc() -> None:
    tokyo = datetime(2026, 1, 1, 3, 0, tzinfo=timezone(timedelta(hours=9)))
    assert gist_line("Ran.", tokyo) == "- Ran. [mention 2025/12/31] // event"


def test_a_text_that_begins_as_a_list_is_given_no_second_mark() -> None:
    assert gist_line("- Ran.", CAR.occurred_at) == "- Ran. [mention 2024/04/30] // event"


@pytest.mark.parametrize("text", ["Ran. [mention 2024/04/30] // event", "- Ran. [mention 2024/04/30]"])
def test_a_line_of_memobases_that_says_when_does_not_say_it_twice(text: str) -> None:
    assert gist_line(text, DOG.occurred_at) == "- " + text.removeprefix("- ")


def test_a_line_that_only_speaks_of_a_mention_says_when() -> None:
    text = "Got a [mention by name] in the paper."
    assert gist_line(text, DOG.occurred_at) == f"- {text} [mention 2024/05/02] // event"


def test_the_profile_has_its_share_and_no_more() -> None:
    # Three words a line of the profile, nine and ten of the events.
    assert pack([GUS, CITY], [], Budget(10, 0.5), words).entries == (GUS,)
    assert pack([GUS, CITY], [], Budget(10, 0.6), words).entries == (GUS, CITY)


def test_events_keep_to_their_share_unless_they_may_fill_what_is_left() -> None:
    events = [CAR, DOG]
    assert pack([GUS], events, Budget(40, 0.7), words).gists == (CAR,)
    assert pack([GUS], events, Budget(40, 0.7, fill_with_events=True), words).gists == (CAR, DOG)


def test_without_a_share_the_profile_is_left_out() -> None:
    assert pack([GUS], [], Budget(0), words).profile_section == ""
    assert pack([GUS], [], Budget(-5), words).profile_section == ""


def test_a_profile_with_the_whole_budget_leaves_none_to_events() -> None:
    assert pack([GUS], [CAR], Budget(1000, 1.0), words).event_section == ""


def test_events_end_at_the_first_that_overflows() -> None:
    long = gist("User " + "very " * 30 + "tired.")
    assert pack([], [long, CAR], Budget(40, 0.3), words).gists == ()
    assert pack([], [CAR, long, DOG], Budget(40, 0.3), words).gists == (CAR,)


def test_an_entry_larger_than_the_profile_s_share_is_left_out_and_the_others_stay() -> None:
    found = pack([entry("a", "b", "very " * 50), GUS], [CAR], Budget(40), words)
    assert found.entries == (GUS,)
    assert found.gists == (CAR,)


def test_tokens_are_reported_as_counted() -> None:
    found = pack([GUS, CITY], [CAR], Budget(100), words)
    assert (found.profile_tokens, found.event_tokens) == (6, 9)


texts = st.text(max_size=60)


@given(
    st.lists(texts, max_size=8),
    st.lists(texts, max_size=8),
    st.integers(-3, 200),
    st.floats(0.01, 1.0),
    st.booleans(),
)
def test_both_sections_together_never_exceed_the_budget(
    contents: list[str], events: list[str], max_tokens: int, ratio: float, fill: bool
) -> None:
    entries = [entry("topic", f"slot_{number}", text) for number, text in enumerate(contents)]
    found = pack(entries, [gist(text) for text in events], Budget(max_tokens, ratio, fill), estimate_tokens)
    profile, told = estimate_tokens(found.profile_section), estimate_tokens(found.event_section)
    assert profile <= max(0, int(max_tokens * ratio))
    assert profile + told <= max(0, max_tokens)
    assert profile <= found.profile_tokens
    assert told <= found.event_tokens


def test_a_template_of_the_caller_is_filled_in() -> None:
    assert compose(packed(), "en", "a {event_section} b {profile_section} {{x}}") == "a E b P {x}"


def test_what_is_remembered_is_never_read_as_a_template() -> None:
    assert compose(packed("{event_section} {{", "}"), "en", "{profile_section}|{event_section}") == (
        "{event_section} {{|}"
    )


@pytest.mark.parametrize(
    "template",
    ["{", "}", "{}", "{0}", "{name}", "{profile_section.__class__}", "{profile_section!r}", "{event_section:>9}"],
)
def test_any_other_brace_is_refused_and_not_quoted(template: str) -> None:
    with pytest.raises(InvalidRecord, match="customize_context_prompt") as caught:
        compose(packed(), "en", f"secret {template}")
    assert "secret" not in str(caught.value)
