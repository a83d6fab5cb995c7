"""What a worker spends at a scripted endpoint, as `memostream usage` tells it, and what a budget does about it."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import orjson
import pytest

from tests.support.command_line import CommandLine
from tests.support.scripted_openai import Answer, Call, ScriptedOpenAI, server_error

DIMENSION = 256
PRICES = {
    "gpt-4o-mini": {"prompt_per_million": 1, "completion_per_million": 10},
    "text-embedding-3-small": {"embedding_per_million": 100},
}


def said(user: str, *texts: str, project: str = "default", number: int = 0) -> bytes:
    messages = [{"role": "user", "content": text} for text in texts]
    record = {
        "id": f"{user}-{number}",
        "user_id": user,
        "project_id": project,
        "blob_data": {"messages": messages},
    }
    return orjson.dumps(record)


def answer(call: Call) -> Answer:
    """Poison never gets a valid reply, a stutter only when it is asked for a repair."""
    if "poison" in call.prompt:
        return "no JSON at all"
    if "stutter" in call.prompt and len(call.body["messages"]) == 2:
        return '{"facts": "none"}'
    return None


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
        MEMOSTREAM_EXTRACTION__RETRY_MIN_S="0.1",
        MEMOSTREAM_EXTRACTION__RETRY_MAX_S="0.5",
        MEMOSTREAM_LLM__API_KEY="sk-test-key",
        MEMOSTREAM_LLM__MAX_RETRIES="0",
        MEMOSTREAM_EMBEDDING__DIMENSION=str(DIMENSION),
        MEMOSTREAM_PRICES__MODELS=orjson.dumps(PRICES).decode(),
    )


async def test_every_token_that_the_server_served_is_in_the_sums_with_its_cost(variables: CommandLine) -> None:
    async with ScriptedOpenAI(answer, dimension=DIMENSION) as server:
        shell = variables.with_variables(MEMOSTREAM_LLM__BASE_URL=server.base_url)
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, shell.background("worker", until="worker.started"))
            server.fail("merge", server_error(), server_error())
            lines = [
                said("ann", "fact work/company: Acme", "stutter", "event: began at Acme"),
                said("ben", "fact contact_info/city: Oslo", "poison", "event: moved"),
                said("cid", "nothing to note"),
            ]
            await asyncio.to_thread(shell.run, "send", "-", stdin=b"\n".join(lines))
            await asyncio.to_thread(shell.run, "flush", "--all")
            await asyncio.to_thread(shell.run, "send", "-", stdin=said("ann", "fact work/company: Bolt", number=1))
            await asyncio.to_thread(shell.run, "flush", "ann")
        by_model = await asyncio.to_thread(shell.document, "usage", "--by", "model")
        counts = (await asyncio.to_thread(shell.document, "audit"))["counts"]
    assert (counts["applied"], counts["parked"], counts["missing"]) == (3, 1, 0)
    total = by_model["sum"]
    assert total["prompt_tokens"] + total["embedding_tokens"] == server.prompt_tokens
    assert total["completion_tokens"] == server.completion_tokens
    # What answered with an error was a call, but no completion.
    assert total["completions"] == len(server.calls) - server.count("embed") - 2
    assert total["embedding_calls"] == server.count("embed")
    assert (total["extractions"], total["unfinished"]) == (4, 2)
    costs = {row["model"]: row["cost"] for row in by_model["rows"]}
    chat = (total["prompt_tokens"] + 10 * total["completion_tokens"]) / 1_000_000
    assert costs == {
        "gpt-4o-mini": pytest.approx(chat),
        "text-embedding-3-small": pytest.approx(total["embedding_tokens"] / 10_000),
    }


async def test_a_user_over_a_budget_is_held_until_the_budget_is_raised_and_others_go_on(variables: CommandLine) -> None:
    async with ScriptedOpenAI(dimension=DIMENSION) as server:
        limits = {"trial": {"user_tokens_a_day": 1}}
        environment = {
            **variables.environment,
            "MEMOSTREAM_LLM__BASE_URL": server.base_url,
            # So that a flush has no command to wait for behind the held window.
            "MEMOSTREAM_BUFFER__MAX_WINDOW_BLOBS": "1",
        }
        tight = CommandLine(
            variables.folder, {**environment, "MEMOSTREAM_BUDGET__PROJECTS": orjson.dumps(limits).decode()}
        )
        with ExitStack() as stack:
            worker = await asyncio.to_thread(stack.enter_context, tight.background("worker", until="worker.started"))
            for number in range(2):
                for project in ("trial", "default"):
                    line = said(f"dora-{project}", f"fact work/company: C{number}", project=project, number=number)
                    await asyncio.to_thread(tight.run, "send", "-", stdin=line)
                await asyncio.to_thread(tight.run, "flush", "--all")
            assert worker.output().count("budget.reached") == 1
            document = await asyncio.to_thread(tight.document, "audit")
            counts = document["counts"]
            assert (counts["applied"], counts["held"], counts["missing"]) == (3, 1, 0)
            assert document["held"] == {"budget": 1}
        generous = CommandLine(variables.folder, environment)
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, generous.background("worker", until="worker.started"))
            await asyncio.to_thread(generous.run, "flush", "--all", "--wait-held")
            counts = (await asyncio.to_thread(generous.document, "audit"))["counts"]
            assert (counts["applied"], counts["held"], counts["missing"]) == (4, 0, 0)
