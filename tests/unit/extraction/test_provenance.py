"""Quotes on their way from a model's reply to the changes of a profile."""

from typing import Any

import pytest

from extraction.drafts import changes_of
from extraction.endpoint.provider import to_extraction
from extraction.merge import plan_merge, resolve
from extraction.offline.extract import extract_by_rules
from extraction.replies import ExtractReply
from schemas.memory import Extraction, Profile, Quote, Usage
from schemas.profile_schema import ProfilePolicy
from schemas.windows import MessageId
from tests.unit.extraction.builders import profile, said, slot

CONVERSATION = said("I’ve moved to Oslo", "and I like figs")


def answered(*quotes: str | None, indices: tuple[int, ...] = (0, 1)) -> Extraction:
    facts: list[dict[str, Any]] = [
        {
            "topic": "interest",
            "sub_topic": f"thing_{number}",
            "memo": "m",
            "message_indices": indices,
            "quote": quote,
        }
        for number, quote in enumerate(quotes)
    ]
    events = [{"gist": "g", "message_indices": indices, "quote": quote} for quote in quotes]
    reply = ExtractReply.model_validate({"facts": facts, "events": events}, context={"count": 2})
    return to_extraction(reply, CONVERSATION, Usage())


def test_a_quote_names_the_one_message_of_several_that_it_stands_in() -> None:
    extraction = answered("like figs", "I've moved to Oslo")
    expected = [Quote(MessageId("b0/1"), "like figs"), Quote(MessageId("b0/0"), "I’ve moved to Oslo")]
    assert [fact.quote for fact in extraction.facts] == expected
    assert [gist.quote for gist in extraction.gists] == expected


@pytest.mark.parametrize("quote", ["I moved to Oslo", "and I like figs", None])
def test_a_quote_that_no_named_message_holds_is_dropped_and_its_fact_stays(quote: str | None) -> None:
    extraction = answered(quote, indices=(0,))
    assert [(fact.memo, fact.quote) for fact in extraction.facts] == [("m", None)]
    assert [(gist.text, gist.quote) for gist in extraction.gists] == [("g", None)]


@pytest.mark.parametrize("held", [Profile(), profile(slot("m", "thing_0", day=-1))])
def test_a_change_carries_the_quotes_of_the_facts_that_it_holds(held: Profile) -> None:
    extraction = answered("like figs", "no such words")
    policy = ProfilePolicy()
    changes = changes_of(resolve(plan_merge(extraction.facts, held, policy), (), held, policy), held)
    assert {change.sub_topic: change.quotes for change in changes} == {
        "thing_0": (Quote(MessageId("b0/1"), "like figs"),),
        "thing_1": (),
    }


@pytest.mark.parametrize("text", ["Hello, I live in Bergen!", "我住在上海。"])
def test_the_offline_extractor_quotes_what_it_takes_word_for_word(text: str) -> None:
    (message,) = said(text)
    quotes = [fact.quote for fact in extract_by_rules([message]).facts]
    assert quotes
    assert all(quote is not None and quote.text in text for quote in quotes)
