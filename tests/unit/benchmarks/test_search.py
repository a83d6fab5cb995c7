"""What the benchmark of search counts as found."""

import orjson
import pytest

from benchmarks.search import Answer, memories_of, recall, telling


def said(user_id: str, *texts: str) -> bytes:
    messages = [{"role": role, "content": text} for text in texts for role in ("user", "assistant")]
    return orjson.dumps({"user_id": user_id, "blob_data": {"messages": messages}})


def test_everybody_who_spoke_and_is_described_is_in_one_memory() -> None:
    records = [said("ann", "hi"), said("ben", "ho", "hum"), said("ann", "again"), said("eve", "unknown")]
    personas = {"ann": ["likes tea"], "ben": ["has a dog"], "zoe": ["is silent"]}
    memories = memories_of(records, personas, people=1)
    assert sorted((memory.messages, memory.sentences) for memory in memories) == [
        ((("ann", "hi"), ("ann", "again")), (("ann", "likes tea"),)),
        ((("ben", "ho"), ("ben", "hum")), (("ben", "has a dog"),)),
    ]
    assert [len(memory.messages) for memory in memories_of(records, personas, people=14)] == [4]


def test_a_message_tells_a_sentence_with_half_of_its_words() -> None:
    messages = [frozenset({"dog", "walk"}), frozenset({"tea"}), frozenset({"dog", "big", "brown", "old"})]
    assert telling(frozenset({"dog", "big", "black"}), messages) == {2}
    assert telling(frozenset({"dog", "big"}), messages) == {0, 2}
    assert telling(frozenset(), messages) == frozenset()


def test_recall_counts_sentences_whose_person_is_found_and_messages_that_tell_them() -> None:
    answers = [
        Answer(found=(3, 1, 0), own=frozenset({0, 1}), telling=frozenset({0, 1}), messages=4),
        Answer(found=(3, 2, 0), own=frozenset({1}), telling=frozenset(), messages=4),
    ]
    assert recall(answers, 2) == {
        "person": 0.5,
        "by_chance": pytest.approx((1 - 1 / 6 + 0.5) / 2, abs=1e-4),
        "telling": 0.5,
        "telling_sentences": 1,
    }
    assert recall(answers, 3)["telling"] == 1.0
