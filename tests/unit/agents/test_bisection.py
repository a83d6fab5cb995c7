"""Around what a model cannot take: poison alone is left out, long text is split."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from agents.bisection import extract_units, merge_topics
from schemas.conversation import Message
from schemas.errors import ContentRejected, ContextTooLong, RetryLater
from schemas.memory import Extraction, Fact, Gist, MemoryUpdate, Profile, SlotChange, Usage
from schemas.profile_schema import ProfilePolicy
from schemas.windows import MessageId
from tests.support.extracting import ScriptedExtractor, unit


def rejecting(poison: str) -> ScriptedExtractor:
    async def rule(messages: Sequence[Message]) -> None:
        if any(poison in message.content for message in messages):
            raise ContentRejected("the reply did not validate")

    return ScriptedExtractor(rule)


def with_room_for(characters: int) -> ScriptedExtractor:
    async def rule(messages: Sequence[Message]) -> None:
        if sum(len(message.content) for message in messages) > characters:
            raise ContextTooLong("too long")

    return ScriptedExtractor(rule)


def caller(extractor: ScriptedExtractor):  # type: ignore[no-untyped-def]
    return lambda messages: extractor.extract(messages, Profile(), ProfilePolicy())


async def test_what_goes_in_one_call_is_one_call() -> None:
    extractor = ScriptedExtractor()
    units = [unit("a", "1"), unit("b", "2")]
    findings = await extract_units(caller(extractor), units)
    assert extractor.calls == [["1", "2"]]
    assert findings.applied == tuple(units)


async def test_a_poison_message_is_parked_alone_and_everything_else_is_applied_in_order() -> None:
    units = [unit("a", "1", "2"), unit("b", "3", "poison", "5"), unit("c", "6")]
    findings = await extract_units(caller(rejecting("poison")), units)
    assert [(parked.unit.key, parked.reason) for parked in findings.parked] == [(("b", 1, -1), "content-rejected")]
    assert [item.key for item in findings.applied] == [
        ("a", -1, -1),
        ("b", 0, -1),
        ("b", 2, -1),
        ("c", -1, -1),
    ]
    assert [fact.memo for fact in findings.extraction.facts] == ["1", "2", "3", "5", "6"]


async def test_content_that_is_refused_only_together_is_applied_whole() -> None:
    async def rule(messages: Sequence[Message]) -> None:
        if len(messages) > 2:
            raise ContentRejected("the reply did not validate")

    whole = unit("a", "1", "2", "3", "4")
    findings = await extract_units(caller(ScriptedExtractor(rule)), [whole])
    assert findings.applied == (whole,)
    assert findings.parked == ()


async def test_what_is_too_long_is_split_and_applied_whole() -> None:
    units = [unit("a", "x" * 60), unit("b", "y" * 60, "z" * 60)]
    findings = await extract_units(caller(with_room_for(100)), units)
    assert findings.applied == tuple(units)
    assert len(findings.extraction.facts) == 3


async def test_a_single_message_that_is_too_long_is_split_in_its_text() -> None:
    text = "word " * 100
    extractor = with_room_for(200)
    findings = await extract_units(caller(extractor), [unit("a", text)])
    assert [item.key for item in findings.applied] == [("a", -1, -1)]
    assert "".join(fact.memo for fact in findings.extraction.facts) == text


async def test_poison_in_a_part_of_a_long_message_parks_the_message() -> None:
    async def rule(messages: Sequence[Message]) -> None:
        if sum(len(message.content) for message in messages) > 200:
            raise ContextTooLong("too long")
        if "poison" in messages[0].content:
            raise ContentRejected("refused")

    units = [unit("a", "word " * 50 + "poison"), unit("b", "fine")]
    findings = await extract_units(caller(ScriptedExtractor(rule)), units)
    assert [parked.unit.key for parked in findings.parked] == [("a", -1, -1)]
    assert [fact.memo for fact in findings.extraction.facts] == ["fine"]


async def test_a_short_text_that_is_too_long_is_parked_as_such() -> None:
    units = [unit("a", "short"), unit("b", "word " * 30, "fine")]

    async def rule(messages: Sequence[Message]) -> None:
        if any("fine" not in message.content for message in messages):
            raise ContextTooLong("too long")

    findings = await extract_units(caller(ScriptedExtractor(rule)), units)
    parked = [(item.unit.key, item.reason) for item in findings.parked]
    assert parked == [(("a", -1, -1), "too-long"), (("b", 0, -1), "too-long")]
    assert [fact.memo for fact in findings.extraction.facts] == ["fine"]


async def test_a_name_of_endless_length_is_cut_before_its_text_is() -> None:
    async def rule(messages: Sequence[Message]) -> None:
        if sum(len(message.render()) for message in messages) > 400:
            raise ContextTooLong("too long")

    long = unit("a", "word " * 20)
    long.content["blob_data"]["messages"][0]["alias"] = "Ann" * 1000
    extractor = ScriptedExtractor(rule)
    findings = await extract_units(caller(extractor), [long])
    assert findings.applied == (long,)
    assert extractor.calls == [["word " * 20], ["word " * 20]]


async def test_an_endpoint_that_goes_away_amid_a_bisection_parks_nothing() -> None:
    async def rule(messages: Sequence[Message]) -> None:
        if len(messages) > 1:
            raise ContentRejected("refused")
        raise RetryLater("away")

    with pytest.raises(RetryLater):
        await extract_units(caller(ScriptedExtractor(rule)), [unit("a", "1"), unit("b", "2")])


def facts_of(*topics: str) -> Extraction:
    at = unit("a", "1").occurred_at
    return Extraction(
        facts=tuple(Fact(topic, "sub", f"memo of {topic}", (MessageId(f"{topic}/0"),), at) for topic in topics),
        gists=(Gist("a gist", (MessageId("a/0"),), at),),
    )


class Merging:
    """Merges facts as they are; `refuses` names topics that cannot be merged."""

    def __init__(self, refuses: str = "", most: int = 100) -> None:
        self.refuses = refuses
        self.most = most
        self.gists = 0

    async def __call__(self, extraction: Extraction) -> MemoryUpdate:
        if len(extraction.facts) > self.most:
            raise ContextTooLong("too long")
        if any(fact.topic == self.refuses for fact in extraction.facts):
            raise ContentRejected("refused")
        self.gists += len(extraction.gists)
        changes = tuple(
            SlotChange("c", f.topic, f.sub_topic, None, f.memo, "new", f.message_ids, f.occurred_at)
            for f in extraction.facts
        )
        return MemoryUpdate(changes, extraction, Usage(completions=1))


async def test_a_merge_that_is_too_long_is_made_topic_by_topic() -> None:
    extraction = facts_of("work", "food", "music")
    merging = Merging(most=1)
    merged = await merge_topics(merging, extraction)
    assert [change.topic for change in merged.update.changes] == ["work", "food", "music"]
    assert merged.update.extraction == extraction
    # One of them for the gist, which no topic takes along.
    assert merged.update.usage == Usage(completions=4)
    assert merging.gists == 1
    assert not merged.reason


async def test_a_topic_that_cannot_be_merged_names_the_messages_behind_it() -> None:
    merged = await merge_topics(Merging(refuses="food"), facts_of("work", "food", "music"))
    assert merged.refused == {"food/0"}
    assert merged.reason == "content-rejected"


async def test_a_gist_that_cannot_be_embedded_names_its_own_messages_only() -> None:
    extraction = facts_of("work", "food")
    at = extraction.facts[0].occurred_at
    poisoned = Gist("poison", (MessageId("p/0"),), at)
    extraction = replace(extraction, gists=(*extraction.gists, poisoned), summary="a summary")

    async def refuse(part: Extraction) -> MemoryUpdate:
        if poisoned in part.gists:
            raise ContentRejected("refused")
        return await Merging()(part)

    merged = await merge_topics(refuse, extraction)
    assert merged.refused == {"p/0"}


async def test_a_summary_that_cannot_be_embedded_is_kept_without_a_vector() -> None:
    extraction = replace(facts_of("work"), summary="a summary")

    async def refuse(part: Extraction) -> MemoryUpdate:
        if part.summary:
            raise ContentRejected("refused")
        return await Merging()(part)

    merged = await merge_topics(refuse, extraction)
    assert not merged.reason
    assert merged.update.extraction == extraction
    assert len(merged.update.changes) == 1


async def test_a_poison_fact_beside_others_of_its_topic_names_its_own_messages_only() -> None:
    at = unit("a", "1").occurred_at
    facts = tuple(Fact("food", f"s{n}", f"memo {n}", (MessageId(f"{n}/0"),), at) for n in range(5))

    async def refuse(part: Extraction) -> MemoryUpdate:
        if facts[3] in part.facts:
            raise ContentRejected("refused")
        return await Merging()(part)

    merged = await merge_topics(refuse, Extraction(facts=facts))
    assert merged.refused == {"3/0"}


async def test_facts_of_one_topic_that_are_refused_only_together_name_all_their_messages() -> None:
    at = unit("a", "1").occurred_at
    facts = tuple(Fact("food", f"s{n}", f"memo {n}", (MessageId(f"{n}/0"),), at) for n in range(2))
    merged = await merge_topics(Merging(most=1), Extraction(facts=facts))
    assert merged.refused == {"0/0", "1/0"}
    assert merged.reason == "too-long"
