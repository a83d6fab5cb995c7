"""Memobase's patch of OpenAI's client: a chat that remembers, by a running system and a scripted model."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from memobase import MemoBaseClient
from memobase.patch.openai import openai_memory
from memobase.utils import string_to_uuid
from openai import OpenAI

from tests.support.running_gateway import RunningSystem
from tests.support.scripted_openai import Call, ScriptedOpenAI

DEADLINE_S = 60.0


@pytest.fixture
def memobase(system: RunningSystem) -> Iterator[MemoBaseClient]:
    client = MemoBaseClient(project_url=system.url, api_key=system.token("chatbot"))
    with client.client:
        yield client


@pytest.fixture
async def model() -> AsyncIterator[ScriptedOpenAI]:
    def answer(call: Call) -> str:
        return "Good to know."

    async with ScriptedOpenAI(answer) as server:
        yield server


@pytest.fixture
def openai(model: ScriptedOpenAI, memobase: MemoBaseClient) -> Iterator[Any]:
    with OpenAI(base_url=model.base_url, api_key="any") as client:
        yield openai_memory(client, memobase)


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_a_patched_client_remembers_what_its_user_said(
    openai: Any, memobase: MemoBaseClient, model: ScriptedOpenAI, is_streaming: bool
) -> None:
    user = f"ann-{is_streaming}"

    def ask(text: str) -> str:
        messages = [{"role": "user", "content": text}]
        options = {"model": "any", "messages": messages, "user_id": user, "stream": is_streaming}
        answer = openai.chat.completions.create(**options)
        if is_streaming:
            return "".join(chunk.choices[0].delta.content or "" for chunk in answer)
        return str(answer.choices[0].message.content)

    stored = memobase.get_user(string_to_uuid(user), no_get=True)
    assert await asyncio.to_thread(ask, "I moved to Bergen") == "Good to know."
    # The patch inserts on a thread of its own, and does not wait for it.
    await until(lambda: stored.get_all("chat"))
    assert await asyncio.to_thread(openai.flush, user) is True
    await until(lambda: openai.get_profile(user))

    (blob_id,) = await asyncio.to_thread(stored.get_all, "chat")
    said = await asyncio.to_thread(stored.get, blob_id)
    assert [(message.role, message.content) for message in said.messages] == [
        ("user", "I moved to Bergen"),
        ("assistant", "Good to know."),
    ]
    assert "contact_info::city: Bergen" in await asyncio.to_thread(openai.get_memory_prompt, user)
    await asyncio.to_thread(ask, "Where do I live?")
    first, last = ([message["content"] for message in call.body["messages"]] for call in model.calls)
    assert "# Memory" in first[0]
    assert "Bergen" not in first[0]
    assert "- contact_info::city: Bergen" in last[0]
    assert (first[1:], last[1:]) == (["I moved to Bergen"], ["Where do I live?"])
    await until(lambda: len(stored.get_all("chat")) == 2)


async def test_without_a_user_a_patched_client_is_as_it_was(openai: Any, model: ScriptedOpenAI) -> None:
    messages = [{"role": "user", "content": "Where do I live?"}]
    answer = await asyncio.to_thread(openai.chat.completions.create, model="any", messages=messages, user_id=None)
    assert answer.choices[0].message.content == "Good to know."
    assert model.calls[-1].prompt == "Where do I live?"


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.05)
