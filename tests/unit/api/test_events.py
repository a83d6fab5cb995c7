"""The one text that stands for an event, put together and taken apart again."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.events import event_answer, event_tip, text_of, within_budget
from storage.browsing import EventRow, GistRow
from storage.editing_events import EventText

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def event(summary: str | None, *lines: str, **more: Any) -> EventRow:
    values: dict[str, Any] = {
        "event_id": uuid4(),
        "summary": summary,
        "tags": [],
        "profile_delta": [],
        "gists": tuple(GistRow(uuid4(), line, (), NOW) for line in lines),
        "revision": 1,
        "message_ids": (),
        "window_ids": (),
        "extractor": None,
        "occurred_at": NOW,
        "recorded_at": NOW,
    }
    return EventRow(**(values | more))


@pytest.mark.parametrize(
    ("tip", "summary", "lines"),
    [
        ("They met", "They met", ("They met",)),
        ("They met\n- in Oslo\n- for lunch", "They met", ("in Oslo", "for lunch")),
        ("- in Oslo", None, ("in Oslo",)),
        ("- a list\nand more", "- a list\nand more", ("- a list and more",)),
        ("They met\r\n- in Oslo\r\n", "They met", ("in Oslo",)),
        ("They met\n- ", "They met\n-", ("They met -",)),
        ("   ", None, ()),
        ("", None, ()),
    ],
)
def test_a_text_is_a_summary_and_the_marked_lines_at_its_end(tip: str, summary: str | None, lines: tuple[str]) -> None:
    assert text_of(tip) == EventText(summary, lines)


@given(st.text(alphabet="ab -\n", max_size=30))
def test_what_is_taken_apart_and_put_together_is_taken_apart_alike(tip: str) -> None:
    text = text_of(tip)
    again = event_tip(event(text.summary, *text.lines))
    assert text_of(again or "") == text


def test_a_text_reads_back_as_it_was_written() -> None:
    for tip in ("They met", "They met\n- in Oslo\n- for lunch", "- in Oslo\n- for lunch", "One.\nTwo.\n- three"):
        text = text_of(tip)
        assert event_tip(event(text.summary, *text.lines)) == tip


def test_an_event_without_words_has_no_text() -> None:
    assert event_tip(event(None)) is None


def test_an_answer_has_memobases_shape_and_a_list_of_facts_always() -> None:
    fact = {"content": "Acme", "attributes": {"topic": "work", "sub_topic": "company"}}
    told = event("They met", profile_delta=[{**fact, "message_ids": ["b/0"]}], updated_at=NOW + timedelta(hours=1))
    assert event_answer(told, 0.5) == {
        "id": str(told.event_id),
        "event_data": {"profile_delta": [fact], "event_tip": "They met", "event_tags": []},
        "created_at": NOW,
        "updated_at": NOW + timedelta(hours=1),
        "similarity": 0.5,
    }
    assert event_answer(event(None))["event_data"]["profile_delta"] == []
    assert event_answer(event(None))["updated_at"] == NOW


def test_events_end_before_the_first_that_the_budget_does_not_hold() -> None:
    told = [event("four"), event("six to"), event("two")]
    assert within_budget(told, 9, len) == told[:1]
    assert within_budget(told, 10, len) == told[:2]
    assert within_budget(told, 0, len) == []
    assert within_budget(told, None, len) == told


def test_facts_and_tags_count_too() -> None:
    fact = {"content": "Acme", "attributes": {"topic": "work", "sub_topic": "company"}}
    told = event("They met", profile_delta=[fact], tags=[{"tag": "mood", "value": "glad"}])
    size = len("They met\n- work::company: Acme\n- mood: glad")
    assert within_budget([told], size, len) == [told]
    assert within_budget([told], size - 1, len) == []
