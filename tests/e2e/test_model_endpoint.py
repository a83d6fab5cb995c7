"""The main job with a model behind an endpoint: what it is asked, how often, and what happens while it is away."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import orjson
import pytest

from tests.support.command_line import CommandLine
from tests.support.scripted_openai import ScriptedOpenAI, server_error

DIMENSION = 256
USERS = ("ann", "ben", "mei")


def said(*texts: str) -> bytes:
    """One record a user and text, with ids that stay the same."""
    return b"\n".join(
        orjson.dumps(
            {
                "id": f"{user}-{number}",
                "user_id": user,
                "created_at": f"2026-11-0{number + 1}T10:00:00Z",
                "blob_data": {"messages": [{"role": "user", "content": text}]},
            }
        )
        for number, text in enumerate(texts)
        for user in USERS
    )


@pytest.fixture
def variables(
    tmp_path: Path, kafka_bootstrap: str, database_url: str, topic_prefix: str, program: Sequence[str]
) -> CommandLine:
    return CommandLine.of(
        tmp_path,
        kafka=kafka_bootstrap,
        database_url=database_url,
        prefix=topic_prefix,
        program=program,
        MEMOSTREAM_EXTRACTION__PROVIDER="openai",
        MEMOSTREAM_EXTRACTION__HOLD_AFTER_S="1",
        MEMOSTREAM_EXTRACTION__RETRY_MIN_S="0.1",
        MEMOSTREAM_EXTRACTION__RETRY_MAX_S="0.5",
        MEMOSTREAM_LLM__API_KEY="sk-test-key",
        MEMOSTREAM_LLM__MAX_RETRIES="0",
        MEMOSTREAM_EMBEDDING__DIMENSION=str(DIMENSION),
    )


def facts(shell: CommandLine, user: str) -> dict[str, str]:
    entries = shell.document("profile", user)["entries"]
    return {f"{entry['topic']}/{entry['sub_topic']}": entry["content"] for entry in entries}


async def test_the_same_messages_sent_again_ask_the_model_nothing(variables: CommandLine) -> None:
    async with ScriptedOpenAI(dimension=DIMENSION) as server:
        shell = variables.with_variables(MEMOSTREAM_LLM__BASE_URL=server.base_url)
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, shell.background("worker", until="worker.started"))
            lines = said("fact contact_info/city: Bergen")
            await asyncio.to_thread(shell.run, "send", "-", stdin=lines)
            await asyncio.to_thread(shell.run, "flush", "--all")
            calls = len(server.calls)
            assert server.count("extract") == len(USERS)
            await asyncio.to_thread(shell.run, "send", "-", stdin=lines)
            await asyncio.to_thread(shell.run, "flush", "--all")
            assert len(server.calls) == calls
            await asyncio.to_thread(shell.run, "send", "-", stdin=said("", "fact contact_info/city: Oslo"))
            await asyncio.to_thread(shell.run, "flush", "--all")
            assert server.count("merge") == len(USERS)
            assert await asyncio.to_thread(facts, shell, "ann") == {"contact_info/city": "Oslo"}


async def test_while_the_endpoint_is_away_users_are_held_and_applied_when_it_is_back(variables: CommandLine) -> None:
    async with ScriptedOpenAI(dimension=DIMENSION) as server:
        shell = variables.with_variables(MEMOSTREAM_LLM__BASE_URL=server.base_url)
        server.always = server_error(503)
        with ExitStack() as stack:
            worker = await asyncio.to_thread(stack.enter_context, shell.background("worker", until="worker.started"))
            await asyncio.to_thread(shell.run, "send", "-", stdin=said("fact contact_info/city: Bergen"))
            await asyncio.to_thread(shell.run, "flush", "--all", "--timeout-s", "2", fails=True)
            await asyncio.to_thread(worker.wait_for, "extraction.held")
            server.always = None
            await asyncio.to_thread(shell.run, "flush", "--all", "--wait-held")
            counts = (await asyncio.to_thread(shell.document, "audit"))["counts"]
            assert (counts["applied"], counts["parked"], counts["missing"]) == (len(USERS), 0, 0)
            assert await asyncio.to_thread(facts, shell, "mei") == {"contact_info/city": "Bergen"}
            assert "sk-test-key" not in worker.output()
            assert "Bergen" not in worker.output()
