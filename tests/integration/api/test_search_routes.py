"""Routes 26, 27 and 28 and our own search, on a real database with an embedder whose meanings are known."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from api.searching import AWAY, UNKNOWN
from schemas.errors import ContentRejected, RetryLater
from schemas.settings import Settings
from schemas.settings_api import ApiSettings
from storage.row_security import prepare_role
from tests.support.http_gateway import NOW, client_of, gateway_on
from tests.support.memories import Meanings, Memories

PREFIX = "/api/v1/users"


@pytest.fixture
def embedder() -> Meanings:
    return Meanings()


@pytest.fixture
async def http(engine: AsyncEngine, embedder: Meanings) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(api=ApiSettings(embedding_timeout_s=0.5))
    async with client_of(gateway_on(engine, settings, embedder=embedder)) as client:
        yield client


@pytest.fixture
async def http_without_embeddings(engine: AsyncEngine) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gateway_on(engine)) as client:
        yield client


async def data_of(http: httpx.AsyncClient, path: str, **query: Any) -> Any:
    response = await http.get(f"{PREFIX}/{path}", params=query)
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["errno"], body["errmsg"]) == (0, "")
    return body["data"]


async def test_events_are_found_by_meaning_in_memobase_shape(
    engine: AsyncEngine, http: httpx.AsyncClient, embedder: Meanings
) -> None:
    memories = Memories(engine)
    pets = await memories.event("She has a new puppy", "bought a puppy", tags=[("mood", "glad")])
    await memories.event("She works in an office", "a job")
    found = await data_of(http, "event/search/ann", query="pets")
    assert found["gists"] == []
    (event,) = found["events"]
    assert (event["id"], event["similarity"]) == (str(pets), pytest.approx(1.0, abs=1e-3))
    assert event["event_data"] == {
        "profile_delta": [],
        "event_tip": "She has a new puppy\n- bought a puppy",
        "event_tags": [{"tag": "mood", "value": "glad"}],
    }
    assert embedder.calls == [(["pets"], True)]


async def test_gists_are_found_by_meaning_in_memobase_shape(engine: AsyncEngine, http: httpx.AsyncClient) -> None:
    await Memories(engine).event("x", "a job and a dog", "bought a puppy", "drinks tea")
    found = await data_of(http, "event_gist/search/ann", query="pets", topk=5)
    assert found["events"] == []
    assert [gist["gist_data"]["content"] for gist in found["gists"]] == [
        "- bought a puppy [mention 2026/11/01] // event",
        "- a job and a dog [mention 2026/11/01] // event",
    ]
    assert set(found["gists"][0]) == {"id", "gist_data", "created_at", "updated_at", "similarity"}
    assert len((await data_of(http, "event_gist/search/ann", query="pets", similarity_threshold=0.9))["gists"]) == 1
    assert len((await data_of(http, "event_gist/search/ann", query="pets", topk=1))["gists"]) == 1


async def test_memobase_searches_keep_to_what_was_recorded_of_late(
    engine: AsyncEngine, http: httpx.AsyncClient
) -> None:
    await Memories(engine).event("old dog", "old dog", recorded=NOW - timedelta(days=200))
    assert (await data_of(http, "event/search/ann", query="dog"))["events"] == []
    assert (await data_of(http, "event_gist/search/ann", query="dog"))["gists"] == []
    assert len((await data_of(http, "event/search/ann", query="dog", time_range_in_days=201))["events"]) == 1


async def test_events_are_found_by_all_tags_and_values_that_are_asked_for(
    engine: AsyncEngine, http_without_embeddings: httpx.AsyncClient
) -> None:
    http = http_without_embeddings
    memories = Memories(engine)
    old = str(await memories.event("a", tags=[("mood", "glad"), ("place", "x=y")], recorded=NOW - timedelta(days=999)))
    new = str(await memories.event("b", tags=[("mood", 'sa"d')]))

    async def ids(**query: Any) -> list[str]:
        return [event["id"] for event in (await data_of(http, "event_tags/search/ann", **query))["events"]]

    assert await ids(tags="mood") == [new, old]
    assert await ids(tags=" mood , place,") == [old]
    assert await ids(tag_values="mood=glad") == [old]
    assert await ids(tag_values="mood=glad,place=x=y") == [old]
    assert await ids(tags="place", tag_values="mood=glad") == [old]
    assert await ids(tag_values='mood=sa"d') == [new]
    assert await ids(tags='mood"') == await ids(tags='mood"}]') == await ids(tag_values="mood=x' OR 1=1 --") == []
    assert await ids() == [new, old]
    assert await ids(topk=1) == [new]
    wrong = (await http.get(f"{PREFIX}/event_tags/search/ann", params={"tag_values": "mood"})).json()
    assert (wrong["errno"], wrong["data"]) == (400, None)
    assert "name=value" in wrong["errmsg"]


async def test_our_search_joins_words_and_meaning_over_all_kinds(engine: AsyncEngine, http: httpx.AsyncClient) -> None:
    memories = Memories(engine)
    await memories.event("told", "Bella called from the office", "has a cat", tags=[("mood", "glad")], sessions=["s1"])
    entry = await memories.entry("interest", "pets", "a puppy called Bella")
    found = await data_of(http, "search/ann", query="Bella the pet")
    assert (found["mode"], found["degraded"]) == ("hybrid", None)
    first = found["results"][0]
    assert first == {
        "kind": "profile",
        "id": str(entry),
        "content": "a puppy called Bella",
        "attributes": {"topic": "interest", "sub_topic": "pets"},
        "event_id": None,
        "event_tags": None,
        "session_ids": None,
        "occurred_at": "2026-11-01T12:00:00+00:00",
        "created_at": "2026-11-01T12:00:00+00:00",
        "updated_at": "2026-11-01T12:00:00+00:00",
        "similarity": pytest.approx(1.0, abs=1e-3),
        "keyword_score": first["keyword_score"],
        "score": pytest.approx(1.0),
    }
    assert {item["content"] for item in found["results"][1:]} == {"Bella called from the office", "has a cat"}
    only = await data_of(http, "search/ann", query="what she told", kinds="event", session_id="s1", tags="mood")
    assert [(item["kind"], item["content"], item["event_id"]) for item in only["results"]] == [("event", "told", None)]


async def test_our_search_is_narrowed_by_time_and_session(engine: AsyncEngine, http: httpx.AsyncClient) -> None:
    memories = Memories(engine)
    await memories.event("x", "old dog", said=NOW - timedelta(days=30), sessions=["s1"])
    await memories.event("x", "new dog", said=NOW, sessions=["s2"])

    async def contents(**query: Any) -> list[str]:
        return [item["content"] for item in (await data_of(http, "search/ann", query="old dog", **query))["results"]]

    assert await contents() == ["old dog", "new dog"]
    assert await contents(half_life_days=1) == ["new dog", "old dog"]
    assert await contents(since=(NOW - timedelta(days=1)).isoformat()) == ["new dog"]
    assert await contents(until=NOW.isoformat()) == ["old dog"]
    assert await contents(session_id="s2") == ["new dog"]
    assert await contents(topk=1) == ["old dog"]


async def test_without_embeddings_meaning_is_501_and_a_hybrid_search_goes_by_words(
    engine: AsyncEngine, http_without_embeddings: httpx.AsyncClient
) -> None:
    http = http_without_embeddings
    await Memories(engine, is_embedded=False).event("x", "a puppy")
    for path in ("event/search/ann", "event_gist/search/ann"):
        response = await http.get(f"{PREFIX}/{path}", params={"query": "puppy"})
        assert (response.status_code, response.json()["errno"]) == (200, 501)
    response = await http.get(f"{PREFIX}/search/ann", params={"query": "puppy", "mode": "vector"})
    assert (response.status_code, response.json()["errno"]) == (501, 501)
    found = await data_of(http, "search/ann", query="puppy")
    assert [item["content"] for item in found["results"]] == ["a puppy"]
    assert found["mode"] == "keyword"
    assert "embedding.enabled" in found["degraded"]


async def test_with_the_endpoint_away_meaning_is_503_and_a_hybrid_search_goes_by_words(
    engine: AsyncEngine, http: httpx.AsyncClient, embedder: Meanings
) -> None:
    await Memories(engine).event("x", "a puppy")
    embedder.fault = RetryLater("http://secret-host is away")
    for path in ("event/search/ann", "event_gist/search/ann"):
        response = await http.get(f"{PREFIX}/{path}", params={"query": "puppy"})
        assert (response.status_code, response.json()["errno"]) == (200, 503)
        assert response.headers["Retry-After"] == "1"
    response = await http.get(f"{PREFIX}/search/ann", params={"query": "puppy", "mode": "vector"})
    assert (response.status_code, response.json()["errno"]) == (503, 503)
    assert "secret" not in response.text
    found = await data_of(http, "search/ann", query="puppy")
    assert ([item["content"] for item in found["results"]], found["degraded"]) == (["a puppy"], AWAY)


async def test_an_endpoint_that_hangs_is_waited_for_no_longer_than_is_set(
    engine: AsyncEngine, http: httpx.AsyncClient, embedder: Meanings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object, **__: object) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(embedder, "embed", hang)
    await Memories(engine).event("x", "a puppy")
    assert (await data_of(http, "search/ann", query="puppy"))["degraded"] == AWAY
    assert (await http.get(f"{PREFIX}/event/search/ann", params={"query": "puppy"})).json()["errno"] == 503


async def test_a_query_that_the_model_does_not_know_or_refuses_finds_nothing_by_meaning(
    engine: AsyncEngine, http: httpx.AsyncClient, embedder: Meanings
) -> None:
    await Memories(engine).event("a puppy", "a puppy", "named Qwrtz")
    assert (await data_of(http, "event_gist/search/ann", query="qwrtz", similarity_threshold=-1))["gists"] == []
    assert (await data_of(http, "search/ann", query="qwrtz", mode="vector"))["results"] == []
    found = await data_of(http, "search/ann", query="qwrtz")
    assert ([item["content"] for item in found["results"]], found["degraded"]) == (["named Qwrtz"], UNKNOWN)
    embedder.fault = ContentRejected("the text is in here")
    refused = (await http.get(f"{PREFIX}/event/search/ann", params={"query": "puppy"})).json()
    assert refused["errno"] == 400
    assert "text is in" not in refused["errmsg"]


async def test_a_keyword_search_asks_no_model(engine: AsyncEngine, http: httpx.AsyncClient, embedder: Meanings) -> None:
    await Memories(engine).event("x", "用户在北京爬长城")
    found = await data_of(http, "search/ann", query="长城", mode="keyword")
    assert [item["content"] for item in found["results"]] == ["用户在北京爬长城"]
    assert found["results"][0]["similarity"] is None
    assert embedder.calls == []


WRONG: dict[str, tuple[dict[str, str], ...]] = {
    "event/search/ann": ({}, {"topk": "-1"}, {"topk": "1000000"}, {"query": "a\x00b"}, {"similarity_threshold": "nan"}),
    "event_gist/search/ann": ({}, {"time_range_in_days": "-1"}, {"similarity_threshold": "2"}),
    "event_tags/search/ann": ({"topk": "-1"}, {"tags": "a\x00"}, {"tag_values": "x" * 5000}),
    "search/ann": ({}, {"half_life_days": "0"}, {"mode": "magic"}, {"kinds": "blob"}, {"since": "yesterday"}),
}


async def test_an_empty_query_and_parameters_out_of_range_are_refused(http: httpx.AsyncClient) -> None:
    for path, queries in WRONG.items():
        for query in queries:
            asked = query if not query or "query" in query else {"query": "x", **query}
            assert (await http.get(f"{PREFIX}/{path}", params=asked)).status_code == 422, (path, query)
    for path in ("event/search/ann", "event_gist/search/ann", "search/ann"):
        assert (await http.get(f"{PREFIX}/{path}", params={"query": "  "})).json()["errno"] == 400


async def test_with_row_level_security_a_search_sees_its_own_project(engine: AsyncEngine, embedder: Meanings) -> None:
    await prepare_role(engine)
    await Memories(engine).event("a dog", "a dog", tags=[("mood", "glad")])
    await Memories(engine, project_id="other").event("another dog", "another dog", tags=[("mood", "glad")])
    settings = Settings(api=ApiSettings(row_level_security=True))
    async with client_of(gateway_on(engine, settings, embedder=embedder)) as http:
        assert [item["content"] for item in (await data_of(http, "search/ann", query="dog"))["results"]] == ["a dog"]
        assert len((await data_of(http, "event/search/ann", query="dog"))["events"]) == 1
        assert len((await data_of(http, "event_gist/search/ann", query="dog"))["gists"]) == 1
        assert len((await data_of(http, "event_tags/search/ann", tags="mood"))["events"]) == 1


async def test_a_user_who_is_not_known_has_nothing(http: httpx.AsyncClient) -> None:
    assert (await data_of(http, "event/search/nobody", query="dog"))["events"] == []
    assert (await data_of(http, "event_gist/search/nobody", query="dog"))["gists"] == []
    assert (await data_of(http, "event_tags/search/nobody", tags="mood"))["events"] == []
    assert (await data_of(http, "search/nobody", query="dog"))["results"] == []
