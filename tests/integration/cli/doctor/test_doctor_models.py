"""`memostream doctor` names each fault of the model endpoints that is planted, and its fix."""

from collections.abc import AsyncIterator

import pytest

from tests.support.command_line import CommandLine
from tests.support.diagnosis import faults, findings, only_fault
from tests.support.scripted_openai import (
    Fault,
    ScriptedOpenAI,
    bad_request,
    hang,
    no_quota,
    server_error,
    unauthorized,
    unknown_model,
)

KEY = "sk-do-not-show"
# Of the database of the tests.
DIMENSION = 256
TIMEOUT = ("--timeout-s", "20")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedOpenAI]:
    async with ScriptedOpenAI(dimension=DIMENSION) as server:
        yield server


@pytest.fixture
def asking(installed: CommandLine, server: ScriptedOpenAI) -> CommandLine:
    """An installation whose facts and embeddings come from the server."""
    return installed.with_variables(
        MEMOSTREAM_EXTRACTION__PROVIDER="openai",
        MEMOSTREAM_LLM__BASE_URL=server.base_url,
        MEMOSTREAM_LLM__API_KEY=KEY,
        MEMOSTREAM_EMBEDDING__DIMENSION=str(DIMENSION),
    )


async def test_an_endpoint_that_answers_is_asked_for_one_token_and_one_vector(
    asking: CommandLine, server: ScriptedOpenAI
) -> None:
    assert await faults(asking, *TIMEOUT) == []
    chat, embedding = sorted(server.calls, key=lambda call: call.kind == "embed")
    assert chat.body["max_tokens"] == 1
    assert embedding.kind == "embed"
    assert embedding.body["input"] == ["ok"]


async def test_a_model_that_wants_its_limit_under_another_name_is_asked_again(
    asking: CommandLine, server: ScriptedOpenAI
) -> None:
    server.script(bad_request("max_tokens", "use max_completion_tokens instead"))
    assert await faults(asking, *TIMEOUT) == []
    assert [call.body.get("max_completion_tokens") for call in server.calls if call.kind != "embed"] == [None, 1]


async def test_a_model_that_could_not_think_it_over_in_one_token_has_let_us_in(
    asking: CommandLine, server: ScriptedOpenAI
) -> None:
    server.script(bad_request("max_tokens", "max_tokens or model output limit was reached"))
    assert await faults(asking, *TIMEOUT) == []


async def test_no_model_is_asked_where_none_may_be(asking: CommandLine, server: ScriptedOpenAI) -> None:
    found = await findings(asking, "--no-model")
    assert [entry["found"] for entry in found if entry["check"] in ("llm", "embedding")] == [
        "not asked for (--no-model)"
    ] * 2
    assert server.calls == []


@pytest.mark.parametrize(
    ("answer", "found", "fix"),
    [
        (unauthorized(), "refused the key (status 401)", "correct llm.api_key"),
        (no_quota(), "quota is used up", "the plan of the account"),
        (server_error(503), "busy or down (status 503)", "check llm.base_url"),
    ],
)
async def test_an_endpoint_that_refuses(
    asking: CommandLine, server: ScriptedOpenAI, answer: Fault, found: str, fix: str
) -> None:
    server.always = answer
    fault = await only_fault(asking, *TIMEOUT)
    assert fault.check == "llm"
    assert found in fault.found
    assert fix in fault.fix
    assert KEY not in str(fault)


async def test_a_model_that_the_endpoint_does_not_know(asking: CommandLine, server: ScriptedOpenAI) -> None:
    server.always = unknown_model()
    server.models = ["llama-3", "gpt-4o", "whisper"]
    fault = await only_fault(asking, *TIMEOUT)
    assert fault.found.endswith("it does not list gpt-4o-mini")
    assert fault.fix == "set llm.model, perhaps to gpt-4o"


async def test_an_endpoint_that_is_not_there(asking: CommandLine) -> None:
    away = asking.with_variables(MEMOSTREAM_LLM__BASE_URL="http://127.0.0.1:1/v1")
    found = await faults(away, *TIMEOUT, fails=True)
    assert [(fault.check, fault.found) for fault in found] == [
        ("llm", "the endpoint cannot be reached"),
        ("embedding", "the endpoint cannot be reached"),
    ]
    assert "llm.base_url" in found[0].fix


async def test_an_endpoint_that_never_answers_costs_no_more_than_the_time_out(
    asking: CommandLine, server: ScriptedOpenAI
) -> None:
    server.always = hang()
    found = await faults(asking, "--timeout-s", "5", fails=True)
    assert "no answer within 5 s" in [fault.found for fault in found if fault.check == "llm"]


async def test_embeddings_that_come_in_another_dimension(asking: CommandLine, server: ScriptedOpenAI) -> None:
    server.dimension = 64
    fault = await only_fault(asking, *TIMEOUT)
    assert fault.check == "embedding"
    assert "64 dimensions, not 256" in fault.found
    assert "embedding.dimension" in fault.fix


async def test_an_embedding_endpoint_that_refuses_the_key(asking: CommandLine, server: ScriptedOpenAI) -> None:
    server.embed_always = unauthorized()
    fault = await only_fault(asking, *TIMEOUT)
    assert fault.check == "embedding"
    assert "embedding.api_key" in fault.fix
