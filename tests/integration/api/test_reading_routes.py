"""Profiles and contexts over HTTP, on a real database."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import ContentRejected, RetryLater
from storage.projects import write_project_config
from tests.integration.storage.builders import application, apply_once, change, unit, update, window
from tests.support.http_gateway import NOW, client_of
from tests.support.memories import SAID, Meanings, Memories
from tests.support.reading import client_with_model, reading_gateway
from tests.support.scripted_openai import ScriptedOpenAI, unexplained

WHAT_IS_KNOWN = """---
# Memory
Unless the user has relevant queries, do not actively mention those memories in the conversation.
## User Current Profile:
- interest::drinks: green tea
- basic_info::name: Ann

## Past Events:
- Ann adopted a cat. [mention 2026/11/01] // event
- Ann quit her job. [mention 2026/11/01] // event
---
"""

NOTHING_IS_KNOWN = """---
# Memory
Unless the user has relevant queries, do not actively mention those memories in the conversation.
## User Current Profile:
- 

## Past Events:

---
"""  # noqa: W291


@pytest.fixture
def memories(engine: AsyncEngine) -> Memories:
    return Memories(engine)


@pytest.fixture
def meanings() -> Meanings:
    return Meanings()


@pytest.fixture
async def client(engine: AsyncEngine, meanings: Meanings) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(reading_gateway(engine, embedder=meanings)) as client:
        yield client


async def asked(client: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"/api/v1/users/{path}", params=query)
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["errno"], body["errmsg"]) == (200, 0, "")
    data: dict[str, Any] = body["data"]
    return data


def contents(data: dict[str, Any]) -> list[str]:
    return [item["content"] for item in data["profiles"]]


async def ann(memories: Memories) -> None:
    await memories.entry("basic_info", "name", "Ann", SAID)
    await memories.entry("interest", "drinks", "green tea", SAID + timedelta(hours=1))
    await memories.event("A day in Oslo", "Ann quit her job.", "Ann adopted a cat.")


async def test_of_a_user_who_was_never_seen_nothing_is_known(client: httpx.AsyncClient) -> None:
    assert await asked(client, "profile/nobody") == {"profiles": []}
    assert await asked(client, "context/nobody") == {"context": NOTHING_IS_KNOWN}


async def test_a_profile_has_memobases_shape_and_the_latest_entry_first(
    client: httpx.AsyncClient, memories: Memories
) -> None:
    await memories.entry("basic_info", "name", "Ann", SAID)
    profile_id = await memories.entry("interest", "drinks", "green tea", SAID + timedelta(hours=1))
    first, second = (await asked(client, "profile/ann"))["profiles"]
    assert first == {
        "id": str(profile_id),
        "content": "green tea",
        "attributes": {"topic": "interest", "sub_topic": "drinks", "update_hits": 0},
        "created_at": "2026-11-01T13:00:00+00:00",
        "updated_at": "2026-11-01T13:00:00+00:00",
    }
    assert second["content"] == "Ann"


async def test_a_profile_is_chosen_as_memobases_clients_ask_for_it(
    client: httpx.AsyncClient, memories: Memories
) -> None:
    for number, slot in enumerate(("drinks", "foods", "books")):
        await memories.entry("interest", slot, slot, SAID + timedelta(hours=number))
    await memories.entry("basic_info", "name", "Ann", SAID)
    await memories.entry("work", "title", "Baker", SAID)
    path = (
        "/api/v1/users/profile/ann?max_token_size=1000&prefer_topics=work&&prefer_topics=basic_info"
        '&only_topics=interest&&only_topics=work&&only_topics=Basic Info&topic_limits_json={"interest": 1}'
    )
    assert contents((await client.get(path)).json()["data"]) == ["Baker", "Ann", "books"]


async def test_a_profile_never_exceeds_its_budget(client: httpx.AsyncClient, memories: Memories) -> None:
    await memories.entry("interest", "books", "long " * 100, SAID + timedelta(hours=1))
    await memories.entry("basic_info", "name", "Ann", SAID)
    assert contents(await asked(client, "profile/ann", max_token_size=30)) == ["Ann"]
    assert contents(await asked(client, "profile/ann", max_token_size=1)) == []


async def test_a_context_is_word_for_word_memobases(client: httpx.AsyncClient, memories: Memories) -> None:
    await ann(memories)
    assert await asked(client, "context/ann") == {"context": WHAT_IS_KNOWN}


async def test_a_context_is_in_the_language_of_its_project(
    client: httpx.AsyncClient, engine: AsyncEngine, memories: Memories
) -> None:
    await ann(memories)
    async with engine.begin() as connection:
        await write_project_config(connection, "default", "language: zh\n", NOW)
    text = (await asked(client, "context/ann"))["context"]
    assert text.startswith("---\n# 记忆\n")
    assert "\n## 用户当前状态：\n- interest::drinks: green tea\n" in text


async def test_without_a_language_of_the_project_a_context_speaks_as_the_memory_does(
    client: httpx.AsyncClient, memories: Memories
) -> None:
    await memories.entry("basic_info", "city", "她住在北京")
    assert (await asked(client, "context/ann"))["context"].startswith("---\n# 记忆\n")


async def test_the_language_of_a_context_does_not_change_with_its_budget(
    client: httpx.AsyncClient, memories: Memories
) -> None:
    await memories.entry("contact_info", "city", "北京", SAID + timedelta(hours=1))
    await memories.entry("interest", "outdoors", "loves hiking in the mountains", SAID)
    for budget in (20, 1000):
        text = (await asked(client, "context/ann", max_token_size=budget))["context"]
        assert ("- contact_info::city: 北京" in text, text.startswith("---\n# Memory\n")) == (True, True)


async def test_a_context_looks_back_so_many_days(client: httpx.AsyncClient, memories: Memories) -> None:
    for days in (1, 30, 400):
        await memories.event(None, f"{days} days ago", recorded=NOW - timedelta(days=days))
    told = {
        days: [event["content"].split(" [")[0] for event in (await asked(client, "context/ann", **query))["events"]]
        for days, query in (
            (180, {"format": "json"}),
            (7, {"format": "json", "time_range_in_days": 7}),
            (10**9, {"format": "json", "time_range_in_days": 10**12}),
        )
    }
    assert told == {
        180: ["1 days ago", "30 days ago"],
        7: ["1 days ago"],
        10**9: ["1 days ago", "30 days ago", "400 days ago"],
    }


async def test_a_context_shows_its_parts_and_how_its_budget_was_spent(
    client: httpx.AsyncClient, memories: Memories
) -> None:
    await ann(memories)
    data = await asked(client, "context/ann", max_token_size=40, format="json", token_report="True")
    assert contents(data) == ["green tea", "Ann"][: len(data["profiles"])]
    tokens = data["tokens"]
    assert tokens["profile_tokens"] + tokens["event_tokens"] <= 40
    assert (tokens["profiles_packed"], tokens["profiles_left_out"]) == (
        len(data["profiles"]),
        2 - len(data["profiles"]),
    )
    assert (tokens["events_packed"], tokens["events_left_out"]) == (len(data["events"]), 2 - len(data["events"]))
    assert (tokens["max_tokens"], tokens["events_by"], tokens["counted_by"]) == (40, "time", "estimate")


async def test_a_context_may_be_plain_text(client: httpx.AsyncClient, memories: Memories) -> None:
    await ann(memories)
    answer = await client.get("/api/v1/users/context/ann?format=text")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == WHAT_IS_KNOWN


async def test_a_context_may_be_in_the_callers_words(client: httpx.AsyncClient, memories: Memories) -> None:
    await ann(memories)
    template = "{{known}} {profile_section}"
    text = (await asked(client, "context/ann", customize_context_prompt=template))["context"]
    assert text == "{known} - interest::drinks: green tea\n- basic_info::name: Ann"


async def test_an_empty_template_is_none(client: httpx.AsyncClient, memories: Memories) -> None:
    await ann(memories)
    assert await asked(client, "context/ann", customize_context_prompt="") == {"context": WHAT_IS_KNOWN}


async def test_a_conversation_without_words_is_not_searched_for(
    client: httpx.AsyncClient, memories: Memories, meanings: Meanings
) -> None:
    await ann(memories)
    data = await asked(client, "context/ann", chats_str='[{"role": "user", "content": " "}]')
    assert (data, meanings.calls) == ({"context": WHAT_IS_KNOWN}, [])


async def test_a_conversation_that_the_model_refuses_is_named_as_the_fault(
    client: httpx.AsyncClient, meanings: Meanings
) -> None:
    meanings.fault = ContentRejected("the text is in here")
    answer = await client.get("/api/v1/users/context/ann", params={"chats_str": '[{"role": "user", "content": "x"}]'})
    body = answer.json()
    assert (body["errno"], body["errmsg"]) == (400, "chats_str: the embedding model refuses this text")


async def test_with_a_conversation_events_are_those_that_are_like_it(
    client: httpx.AsyncClient, memories: Memories, meanings: Meanings
) -> None:
    await ann(memories)
    chats = [{"role": "user", "content": text} for text in ("tea", "my pets", "a puppy", "hm")]
    data = await asked(client, "context/ann", chats_str=json.dumps(chats), format="json", token_report=True)
    assert [event["content"] for event in data["events"]] == ["Ann adopted a cat. [mention 2026/11/01] // event"]
    assert data["tokens"]["events_by"] == "similarity"
    assert meanings.calls == [(["my pets\na puppy\nhm"], True)]
    strict = await asked(
        client, "context/ann", chats_str=json.dumps(chats), format="json", event_similarity_threshold=1
    )
    assert strict["events"] == []


async def test_with_embeddings_off_a_conversation_has_the_latest_events(
    engine: AsyncEngine, memories: Memories
) -> None:
    await ann(memories)
    async with client_of(reading_gateway(engine, embedder=None)) as client:
        data = await asked(client, "context/ann", chats_str='[{"role": "user", "content": "my cat"}]')
    assert data == {"context": WHAT_IS_KNOWN}


async def test_while_the_endpoint_of_embeddings_is_away_a_context_that_needs_it_is_too(
    client: httpx.AsyncClient, memories: Memories, meanings: Meanings
) -> None:
    await ann(memories)
    meanings.fault = RetryLater("away", 3.0)
    path = "/api/v1/users/context/ann"
    answer = await client.get(path, params={"chats_str": '[{"role": "user", "content": "my cat"}]'})
    assert (answer.status_code, answer.json()["errno"]) == (200, 503)
    assert int(answer.headers["retry-after"]) >= 3
    assert (await asked(client, "context/ann"))["context"] == WHAT_IS_KNOWN


@pytest.mark.parametrize(
    ("path", "query", "names"),
    [
        ("context", {"profile_event_ratio": "0"}, "profile_event_ratio"),
        ("context", {"profile_event_ratio": "nan"}, "profile_event_ratio"),
        ("context", {"customize_context_prompt": "{secret}"}, "customize_context_prompt"),
        ("context", {"chats_str": "[{secret"}, "chats_str"),
        ("context", {"format": "text", "token_report": "true"}, "token_report"),
        ("profile", {"chats_str": '{"role": "secret"}'}, "chats_str"),
        ("profile", {"topic_limits_json": '{"secret": "many"}'}, "topic_limits_json"),
        ("profile", {"topic_limits_json": "[" * 5000}, "topic_limits_json"),
    ],
)
async def test_what_does_not_hold_is_named_and_not_quoted(
    client: httpx.AsyncClient, path: str, query: dict[str, str], names: str
) -> None:
    answer = await client.get(f"/api/v1/users/{path}/ann", params=query)
    body = answer.json()
    assert (answer.status_code, body["errno"], body["data"]) == (200, 400, None)
    assert names in body["errmsg"]
    assert "secret" not in body["errmsg"]


HARMLESS: list[dict[str, str]] = [
    {"max_token_size": "1" + "0" * 400},
    {"profile_event_ratio": "inf"},
    {"event_similarity_threshold": "nan"},
    {"time_range_in_days": "-1" + "0" * 400},
    {"as_of": "9999-12-31T23:59:59-14:00"},
    {"as_of": "0001-01-01T00:00:00+14:00"},
    {"prefer_topics": "\x00"},
    {"max_subtopic_size": "1" + "0" * 400},
    {"topic_limits_json": '{"a": 1e400}'},
]


async def test_numbers_and_times_that_nothing_holds_do_no_harm(client: httpx.AsyncClient, memories: Memories) -> None:
    await ann(memories)
    for query in HARMLESS:
        for path in ("context", "profile"):
            answer = await client.get(f"/api/v1/users/{path}/ann", params=query)
            assert answer.status_code == 422 or answer.json()["errno"] in (0, 400), query


async def test_memory_can_be_read_as_it_was(engine: AsyncEngine, client: httpx.AsyncClient) -> None:
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    steps = [
        update(change("company", None, "Acme"), gists=["Ann began at Acme"], summary="a"),
        update(change("company", "Acme", "Globex"), change("title", None, "Baker"), gists=["Ann moved"], summary="b"),
        update(change("company", "Globex", None), gists=["Ann left"], summary="c"),
    ]
    for number, memory in enumerate(steps):
        wanted = application(window(unit(f"b{number}", number)), read_revision=number, memory=memory)
        await apply_once(engine, wanted, begin + timedelta(days=number))
    seen = {}
    for hours in (-1, 0, 30, 60):
        moment = (begin + timedelta(hours=hours)).isoformat()
        profile = await asked(client, "profile/ann", as_of=moment)
        context = await asked(client, "context/ann", as_of=moment, format="json")
        assert {item["id"] for item in context["profiles"]} == {item["id"] for item in profile["profiles"]}
        events = [event["content"].split(" [")[0] for event in context["events"]]
        seen[hours] = (sorted(contents(profile)), events)
    assert seen == {
        -1: ([], []),
        0: (["Acme"], ["Ann began at Acme"]),
        30: (["Baker", "Globex"], ["Ann moved", "Ann began at Acme"]),
        60: (["Baker"], ["Ann left", "Ann moved", "Ann began at Acme"]),
    }
    (now,) = (await asked(client, "profile/ann"))["profiles"]
    (then,) = (await asked(client, "profile/ann", as_of="2026-03-04T00:00:00Z"))["profiles"]
    assert then == now


async def test_memory_can_be_read_by_when_things_were_said(engine: AsyncEngine, client: httpx.AsyncClient) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    for number, company in enumerate(("Acme", "Globex")):
        said_at = first + timedelta(days=60 * number)
        memory = update(change("company", "Acme" if number else None, company), gists=[f"Ann began at {company}"])
        dated = replace(
            memory,
            changes=tuple(replace(item, occurred_at=said_at) for item in memory.changes),
            extraction=replace(
                memory.extraction, gists=tuple(replace(gist, occurred_at=said_at) for gist in memory.extraction.gists)
            ),
        )
        wanted = application(window(unit(f"b{number}", number)), read_revision=number, memory=dated)
        await apply_once(engine, wanted, NOW)
    seen = {}
    for clock, day in (("occurred", 0), ("occurred", 30), ("occurred", 90), ("recorded", 90)):
        query = {"as_of": (first + timedelta(days=day)).isoformat(), "as_of_clock": clock}
        profile = await asked(client, "profile/ann", **query)
        context = await asked(client, "context/ann", **query, format="json")
        seen[clock, day] = (contents(profile), [event["content"].split(" [")[0] for event in context["events"]])
    assert seen == {
        ("occurred", 0): (["Acme"], ["Ann began at Acme"]),
        ("occurred", 30): (["Acme"], ["Ann began at Acme"]),
        ("occurred", 90): (["Globex"], ["Ann began at Globex", "Ann began at Acme"]),
        ("recorded", 90): ([], []),
    }


@pytest.fixture
async def model() -> AsyncIterator[ScriptedOpenAI]:
    async with ScriptedOpenAI() as server:
        yield server


@pytest.fixture
async def helped(engine: AsyncEngine, model: ScriptedOpenAI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_with_model(engine, model) as client:
        yield client


CHATS = '[{"role": "user", "content": "What shall I drink?"}]'


async def test_a_model_picks_the_entries_that_help_if_it_is_asked_to(
    helped: httpx.AsyncClient, model: ScriptedOpenAI, memories: Memories
) -> None:
    await ann(memories)
    model.script({"picks": [0, 7]}, {"picks": [1]}, {"picks": []})
    assert contents(await asked(helped, "profile/ann", chats_str=CHATS)) == ["green tea"]
    assert "0 interest::drinks: green tea\n1 basic_info::name: Ann" in model.calls[0].input
    assert "user: What shall I drink?" in model.calls[0].input
    query = {"chats_str": CHATS, "full_profile_and_only_search_event": "false", "format": "json"}
    assert contents(await asked(helped, "context/ann", **query)) == ["Ann"]
    assert contents(await asked(helped, "profile/ann", chats_str=CHATS)) == []
    await asked(helped, "context/ann", chats_str=CHATS)
    await asked(helped, "profile/ann")
    assert len(model.calls) == 3


async def test_where_the_model_cannot_pick_all_entries_are_shown(
    helped: httpx.AsyncClient, model: ScriptedOpenAI, memories: Memories
) -> None:
    await ann(memories)
    model.always = unexplained()
    assert contents(await asked(helped, "profile/ann", chats_str=CHATS)) == ["green tea", "Ann"]
