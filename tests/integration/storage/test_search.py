"""Search on a real database: by words of several scripts, by vectors, by both, and narrowed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.memory import slot_text
from storage.search import KINDS, Narrowing, Search, search
from storage.search_statements import MAX_TERMS
from storage.tables import events, gists, profiles, users
from tests.integration.storage.builders import application, apply_once, change, rows_of, unit, window
from tests.integration.storage.builders import update as memory_update
from tests.support.memories import SAID, Memories, meaning

HOSTILE = (
    "' OR 1=1 --",
    "\\",
    "a'b\\c",
    ":id",
    "%s",
    "& | ! ( ) <-> :*",
    "${jndi}",
    "\u202e",
    "𠀀",
    "'" * 50,
    "x " * 5000,
)


def wanted(question: str, mode: Any = "hybrid", **more: Any) -> Search:
    vector = None if mode == "keyword" else meaning(question)
    return Search(mode, question, vector, limit=10, now=SAID, **{"threshold": 0.0, **more})


async def texts(engine: AsyncEngine, asked: Search, user_id: str = "ann", project_id: str = "default") -> list[str]:
    async with engine.connect() as connection:
        return [found.text for found in await search(connection, project_id, user_id, asked)]


# By question: the line that it must find first.
SCRIPTS = {
    "painting": "I painted the garden house",
    "CAFE": "We met in a café by the sea",
    "长城": "用户在北京爬长城，看日落。",
    "爬长城": "用户在北京爬长城，看日落。",
    "城": "用户在北京爬长城，看日落。",
    "她喜欢什么茶": "用户喜欢喝茶，住在上海。",
    "東京タワー": "東京タワーへ行った",
    "세계 여행": "안녕하세요 세계",
    "ann@example.org": "write to ann@example.org",
    "Ｔｅａ": "likes green tea",
    "the who": "heard The Who live",
}


async def test_a_row_is_found_by_its_words_in_any_script(engine: AsyncEngine) -> None:
    await Memories(engine).event(None, *dict.fromkeys(SCRIPTS.values()))
    found = {question: (await texts(engine, wanted(question, "keyword")))[:1] for question in SCRIPTS}
    assert found == {question: [line] for question, line in SCRIPTS.items()}


@pytest.mark.parametrize(
    ("beginning", "rest"),
    [
        ("zebra", " ".join(f"other{number:03}" for number in range(MAX_TERMS))),
        ("龍馬", "".join(chr(0x4E00 + number) for number in range(MAX_TERMS + 1))),
    ],
)
async def test_of_a_long_question_the_beginning_counts(engine: AsyncEngine, beginning: str, rest: str) -> None:
    await Memories(engine).event(None, "a zebra, 龍馬")
    assert await texts(engine, wanted(f"{beginning} {rest}", "keyword")) == ["a zebra, 龍馬"]
    assert await texts(engine, wanted(f"{rest} {beginning}", "keyword")) == []


async def test_a_text_without_spaces_is_found_by_its_last_words_however_long_it_is(engine: AsyncEngine) -> None:
    page = "".join(chr(0x4E00 + number) for number in range(19_996))
    await Memories(engine).event(None, f"{page}🐼长城")
    assert await texts(engine, wanted("爬长城", "keyword")) == [f"{page}🐼长城"]


async def test_a_word_that_few_rows_have_counts_for_more(engine: AsyncEngine) -> None:
    await Memories(engine).event(None, "garden tea", "garden rain", "garden sun", "garden wind", "a rare orchid")
    assert (await texts(engine, wanted("garden orchid", "keyword")))[0] == "a rare orchid"


async def test_words_without_meaning_do_not_find_everything(engine: AsyncEngine) -> None:
    await Memories(engine).event(None, "I have a cat", "I have been to the office", "is it so")
    assert await texts(engine, wanted("what is it that I have for a cat", "keyword")) == ["I have a cat"]


async def test_meaning_finds_other_words_and_keeps_to_the_threshold(engine: AsyncEngine) -> None:
    await Memories(engine).event(None, "bought a puppy", "a new job and a dog", "drinks tea")
    assert await texts(engine, wanted("pet", "vector")) == ["bought a puppy", "a new job and a dog"]
    assert await texts(engine, wanted("pet", "vector", threshold=0.9)) == ["bought a puppy"]


async def test_both_together_put_first_what_both_find(engine: AsyncEngine) -> None:
    await Memories(engine).event(None, "Bella is her puppy", "a cat and a dog", "Bella called from the office")
    found = await texts(engine, wanted("her pet Bella"))
    assert found[0] == "Bella is her puppy"
    assert set(found[1:]) == {"a cat and a dog", "Bella called from the office"}


async def test_a_common_word_alone_counts_for_little(engine: AsyncEngine) -> None:
    lines = (f"the new office has floor {number}" for number in range(9))
    await Memories(engine).event(None, *lines, "walks the dog at night", "Rex has a new floor")
    found = await texts(engine, wanted("new dog Rex"))
    assert found[:2] == ["walks the dog at night", "Rex has a new floor"]


async def test_a_row_without_an_embedding_is_found_by_its_words(engine: AsyncEngine) -> None:
    await Memories(engine, is_embedded=False).event(None, "Bella the puppy")
    await Memories(engine).event(None, "a dog")
    assert set(await texts(engine, wanted("puppy Bella"))) == {"Bella the puppy", "a dog"}
    assert await texts(engine, wanted("puppy Bella", "vector")) == ["a dog"]


async def test_all_kinds_are_in_one_order_with_what_belongs_to_them(engine: AsyncEngine) -> None:
    memories = Memories(engine)
    event_id = await memories.event("told of her dog", "walks her dog", tags=[("mood", "glad")], sessions=["s1"])
    profile_id = await memories.entry("interest", "pets", "has a dog called Rex")
    async with engine.connect() as connection:
        found = await search(connection, "default", "ann", wanted("dog Rex", kinds=KINDS))
    assert found[0].kind == "profile"
    by_kind = {item.kind: item for item in found}
    assert (by_kind["profile"].id, by_kind["profile"].topic, by_kind["profile"].sub_topic) == (
        profile_id,
        "interest",
        "pets",
    )
    gist = by_kind["gist"]
    assert (gist.event_id, gist.tags, gist.session_ids) == (event_id, [{"tag": "mood", "value": "glad"}], ["s1"])
    assert by_kind["event"].id == event_id
    assert found[0].score > found[-1].score
    assert found[0].similarity == pytest.approx(1.0, abs=1e-3)


async def test_an_entry_is_found_by_the_name_of_its_slot(engine: AsyncEngine) -> None:
    await Memories(engine).entry("contact_info", "email", "ann@example.org")
    assert await texts(engine, wanted("contact email", "keyword")) == ["ann@example.org"]


NARROWED: tuple[tuple[Narrowing, list[str]], ...] = (
    (Narrowing(occurred_since=SAID - timedelta(days=1)), ["new dog", "newest dog"]),
    (Narrowing(occurred_until=SAID), ["old dog"]),
    (Narrowing(recorded_since=SAID + timedelta(days=1)), ["newest dog"]),
    (Narrowing(tags=("mood",)), ["new dog", "old dog"]),
    (Narrowing(tag_values=(("mood", "glad"),)), ["new dog"]),
    (Narrowing(tags=("mood",), tag_values=(("place", "home"),)), ["old dog"]),
    (Narrowing(session_id="s2"), ["newest dog", "old dog"]),
    (Narrowing(session_id="nowhere"), []),
    (Narrowing(tags=('mood"}] OR',)), []),
)


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
async def test_a_search_is_narrowed_by_time_tags_and_session(engine: AsyncEngine, mode: str) -> None:
    memories = Memories(engine)
    await memories.event(
        "x", "old dog", said=SAID - timedelta(days=9), tags=[("mood", "sad"), ("place", "home")], sessions=["s1", "s2"]
    )
    await memories.event("x", "new dog", tags=[("mood", "glad")], sessions=["s1"])
    await memories.event("x", "newest dog", said=SAID, recorded=SAID + timedelta(days=2), sessions=["s2"])
    for narrowing, expected in NARROWED:
        found = await texts(engine, wanted("dog", mode, kinds=("gist", "profile"), narrowing=narrowing))
        assert sorted(found) == expected, narrowing


async def test_tags_and_sessions_leave_the_profile_out(engine: AsyncEngine) -> None:
    await Memories(engine).entry("interest", "pets", "a dog")
    assert await texts(engine, wanted("dog")) == ["a dog"]
    assert await texts(engine, wanted("dog", narrowing=Narrowing(session_id="s1"))) == []
    assert await texts(engine, wanted("dog", kinds=("profile",), narrowing=Narrowing(tags=("mood",)))) == []


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
async def test_age_takes_from_the_score_only_where_that_is_asked_for(engine: AsyncEngine, mode: str) -> None:
    await Memories(engine).event(None, "dog", said=SAID - timedelta(days=30))
    await Memories(engine).event(None, "a dog that works in the office", said=SAID)
    assert (await texts(engine, wanted("dog", mode)))[0] == "dog"
    async with engine.connect() as connection:
        plain = await search(connection, "default", "ann", wanted("dog", mode))
        found = await search(connection, "default", "ann", wanted("dog", mode, half_life_days=10.0))
    assert found[0].text != "dog"
    scores = {item.text: item.score for item in plain}
    assert {item.text: item.score for item in found} == {
        "dog": pytest.approx(scores["dog"] / 8),
        "a dog that works in the office": pytest.approx(scores["a dog that works in the office"]),
    }


async def test_age_lifts_nothing_that_is_the_contrary_of_the_question(engine: AsyncEngine) -> None:
    memories = Memories(engine)
    await memories.event(None, "old tea", said=SAID - timedelta(days=9))
    await memories.event(None, "new tea")
    contrary = Search(
        "vector", "no tea", -meaning("tea"), limit=10, now=SAID, kinds=("gist",), threshold=-1.5, half_life_days=1
    )
    assert await texts(engine, contrary) == ["new tea", "old tea"]


async def test_a_search_sees_one_user_of_one_project_and_the_live_generation(engine: AsyncEngine) -> None:
    await Memories(engine).event(None, "my dog")
    await Memories(engine, user_id="ben").event(None, "ben's dog")
    await Memories(engine, project_id="other").event(None, "other dog")
    assert await texts(engine, wanted("dog")) == ["my dog"]
    assert await texts(engine, wanted("dog"), user_id="nobody") == []
    async with engine.begin() as connection:
        await connection.execute(update(users).values(live_generation=1))
    assert await texts(engine, wanted("dog")) == []


async def test_hostile_questions_are_words_like_others(engine: AsyncEngine) -> None:
    await Memories(engine).event(None, *(f"it said {question}" for question in HOSTILE), "nothing of that")
    for question in HOSTILE:
        found = await texts(engine, wanted(question, "keyword"))
        assert set(found) <= {f"it said {other}" for other in HOSTILE}
        narrowed = replace(wanted("said", "keyword"), narrowing=Narrowing(tags=(question,), session_id=question))
        assert await texts(engine, narrowed) == []


async def test_what_an_extraction_writes_is_found_with_its_session(engine: AsyncEngine) -> None:
    sent = unit("b1")
    sent = sent.model_copy(update={"content": {**sent.content, "session_id": "s1"}})
    learned = memory_update(change("pets", None, "a dog"), change("tea", None, "green"), gists=["walks the dog"])
    embedded = ((slot_text("work", "pets", "a dog"), meaning("dog")),)
    learned = replace(learned, extraction=replace(learned.extraction, slot_embeddings=embedded))
    await apply_once(engine, application(window(sent), memory=learned))
    assert await texts(engine, wanted("puppy", "vector", kinds=("profile",))) == ["a dog"]
    assert await texts(engine, wanted("dog", "keyword", narrowing=Narrowing(session_id="s1"))) == ["walks the dog"]
    assert await rows_of(engine, events, "session_ids") == [(["s1"],)]
    async with engine.connect() as connection:
        query = select(profiles.c.content).where(profiles.c.embedding.is_(None))
        assert list((await connection.execute(query)).scalars()) == ["green"]


async def test_a_text_that_changes_loses_its_embedding_and_is_to_be_embedded_again(engine: AsyncEngine) -> None:
    await Memories(engine).event("told", "a dog", "a cat")
    await Memories(engine).entry("interest", "pets", "a dog")
    async with engine.begin() as connection:
        await connection.execute(update(gists).values(embed_after=None))
        await connection.execute(update(gists).where(gists.c.text == "a dog").values(text="a job"))
        await connection.execute(update(profiles).values(update_hits=3))
        left = (await connection.execute(text("SELECT text, embedding IS NULL, embed_after IS NULL FROM gists"))).all()
        assert sorted(left) == [("a cat", False, True), ("a job", True, False)]
    assert await rows_of(engine, profiles, "update_hits", "content") == [(3, "a dog")]
    assert sorted(await texts(engine, wanted("pet", "vector", kinds=("gist", "profile")))) == ["a cat", "a dog"]
    assert await texts(engine, wanted("job", "keyword")) == ["a job"]
