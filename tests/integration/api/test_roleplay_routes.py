"""Role-play over HTTP: whether a character should bring up something new, and what is kept of that."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.commands import apply_command
from storage.tables import user_statuses
from storage.user_statuses import KEPT
from tests.integration.storage.builders import command, count_of, position, rows_of
from tests.support.http_gateway import NOW, client_of
from tests.support.memories import Memories
from tests.support.reading import client_with_model, reading_gateway
from tests.support.scripted_openai import ScriptedOpenAI, server_error

PATH = "/api/v1/users/roleplay/proactive/ann"
BODY = {
    "messages": [{"role": "assistant", "content": "Ahoy!"}, {"role": "user", "content": "ok"}],
    "agent_context": "a pirate",
}
BORED = {"status": "the user answers with one word", "action": "new_topic"}
EAGER = {"status": "the user tells a story", "action": "continue"}
MAP = {"theme": "a lost map", "overview": "Somebody found a map.", "steps": ["Mention it.", "Ask where it leads."]}


@pytest.fixture
async def model() -> AsyncIterator[ScriptedOpenAI]:
    async with ScriptedOpenAI() as server:
        yield server


@pytest.fixture
async def client(engine: AsyncEngine, model: ScriptedOpenAI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_with_model(engine, model, model="quick", thinking_model="slow") as client:
        yield client


async def moved(client: httpx.AsyncClient, path: str = PATH) -> dict[str, Any]:
    answer = await client.post(path, json=BODY)
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["errno"]) == (200, 0)
    data: dict[str, Any] = body["data"]
    return data


async def test_who_loses_interest_is_told_something_new_that_builds_on_memory(
    client: httpx.AsyncClient, engine: AsyncEngine, model: ScriptedOpenAI
) -> None:
    await Memories(engine).entry("interest", "sea", "sailing")
    await Memories(engine).entry("work", "title", "baker")
    model.script(BORED, MAP)
    data = await moved(client, f"{PATH}?only_topics=interest")
    assert data["action"] == "new_topic"
    assert data["topic_prompt"].splitlines()[1:] == [
        "Theme: a lost map",
        "Somebody found a map.",
        "1. Mention it.",
        "2. Ask where it leads.",
    ]
    first, second = model.calls
    assert "assistant: Ahoy!\nuser: ok" in first.input
    assert "- interest::sea: sailing\n" in second.input
    assert "baker" not in second.input
    assert "\na pirate\n" in second.input
    assert [call.body["model"] for call in model.calls] == ["quick", "slow"]


async def test_a_topic_is_not_proposed_twice(
    client: httpx.AsyncClient, engine: AsyncEngine, model: ScriptedOpenAI
) -> None:
    await Memories(engine).entry("interest", "sea", "sailing")
    model.script(BORED, MAP, BORED, {**MAP, "overview": "A parrot speaks."})
    await moved(client)
    await moved(client)
    assert "- Somebody found a map.\n" in model.calls[3].input


async def test_who_still_cares_is_left_alone(
    client: httpx.AsyncClient, engine: AsyncEngine, model: ScriptedOpenAI
) -> None:
    model.script(EAGER)
    assert await moved(client) == {"action": "continue", "topic_prompt": None}
    assert len(model.calls) == 1


async def test_of_a_user_the_last_statuses_are_kept_until_the_user_is_forgotten(
    client: httpx.AsyncClient, engine: AsyncEngine, model: ScriptedOpenAI
) -> None:
    await Memories(engine).entry("interest", "sea", "sailing")
    model.answer = lambda call: {**EAGER, "status": f"status {len(model.calls)}"} if call.kind != "embed" else None
    for _ in range(KEPT + 2):
        await moved(client)
    kept = [row.attributes["status"] for row in await rows_of(engine, user_statuses)]
    assert sorted(kept) == sorted(f"status {number}" for number in range(3, KEPT + 3))
    async with engine.begin() as connection:
        await apply_command(connection, command("forget-user"), position(9), NOW, uuid4)
    assert await count_of(engine, user_statuses) == 0


async def test_of_a_user_who_is_not_known_nothing_is_kept(
    client: httpx.AsyncClient, engine: AsyncEngine, model: ScriptedOpenAI
) -> None:
    model.script(BORED, MAP)
    await moved(client)
    assert await count_of(engine, user_statuses) == 0


async def test_without_a_word_there_is_nothing_to_ask(client: httpx.AsyncClient, model: ScriptedOpenAI) -> None:
    answer = await client.post(PATH, json={"messages": []})
    assert answer.json()["data"] == {"action": "continue", "topic_prompt": None}
    assert model.calls == []


async def test_an_answer_that_cannot_be_used_is_a_503(client: httpx.AsyncClient, model: ScriptedOpenAI) -> None:
    model.answer = lambda call: {"status": "secret", "action": "sing"}
    answer = await client.post(PATH, json=BODY)
    assert (answer.status_code, answer.json()["errno"]) == (200, 503)
    assert "secret" not in answer.text
    model.answer = None
    model.always = server_error()
    assert (await client.post(PATH, json=BODY)).json()["errno"] == 503


async def test_without_a_chat_model_it_is_not_there(engine: AsyncEngine) -> None:
    async with client_of(reading_gateway(engine, reader=None)) as client:
        assert (await client.post(PATH, json=BODY)).json()["errno"] == 501
