"""Servers that only resemble OpenAI's: what they take is found out once, and their answers are found in replies."""

import asyncio
import json
from typing import Any

import pytest

from extraction.endpoint.limits import MAX_PAUSE_S
from schemas.errors import ContentRejected, EndpointRefused, RetryLater, UnexplainedRefusal
from schemas.memory import Profile
from schemas.profile_schema import ProfilePolicy
from tests.integration.extraction.conftest import Make
from tests.support import scripted_openai as scripted
from tests.support.scripted_openai import Answer, Call, Fault, ScriptedOpenAI
from tests.unit.extraction.builders import profile, said, slot

CONVERSATION = said("fact interest/foods: likes figs", "event: moved to Oslo")
POLICY = ProfilePolicy()
REPLY = {
    "facts": [{"topic": "interest", "sub_topic": "foods", "memo": "likes figs", "message_indices": [0]}],
    "events": [],
    "summary": None,
}


def system(call: Call) -> str:
    return str(call.body["messages"][0]["content"])


@pytest.mark.parametrize(("formats", "stands"), [(("json_schema",), False), (("json_object",), True), ((), True)])
async def test_the_schema_is_sent_once_beside_the_prompt_or_in_it(
    make: Make, formats: tuple[str, ...], stands: bool
) -> None:
    async with ScriptedOpenAI(formats=formats) as server:
        extractor, held = make(server), profile(slot("likes tea"))
        await extractor.merge(await extractor.extract(CONVERSATION, held, POLICY), held, POLICY)
    for kind in ("extract", "merge"):
        last = [call for call in server.calls if call.kind == kind][-1]
        assert ("additionalProperties" in system(last)) == stands
        assert (last.body.get("response_format", {}).get("type") == "json_schema") != stands


async def test_the_fixed_part_is_one_for_all_users_in_every_form(make: Make) -> None:
    async with ScriptedOpenAI(formats=()) as server:
        extractor = make(server)
        await extractor.extract(said("one"), Profile(), POLICY)
        await extractor.extract(said("two"), profile(slot("likes tea")), POLICY)
    plain = [call for call in server.calls if "response_format" not in call.body]
    assert len({system(call) for call in plain}) == 1


async def test_the_form_is_found_out_once_by_all_users_who_ask_at_once(make: Make) -> None:
    async with ScriptedOpenAI(formats=()) as server:
        extractor = make(server)
        extracting = (extractor.extract(said(f"fact a/b: {number}"), Profile(), POLICY) for number in range(12))
        extractions = await asyncio.gather(*extracting)
    assert all(extraction.facts for extraction in extractions)
    asked = [call.body.get("response_format", {}).get("type") for call in server.calls]
    # Those that were under way already were refused; only one tried the form between.
    assert asked.count("json_object") == 1
    assert asked.count(None) == 12


async def test_what_extract_found_out_merge_knows(make: Make) -> None:
    async with ScriptedOpenAI(formats=("json_object",)) as server:
        extractor, held = make(server), profile(slot("likes tea"))
        await extractor.merge(await extractor.extract(CONVERSATION, held, POLICY), held, POLICY)
    assert [call.body["response_format"]["type"] for call in server.calls if call.kind == "merge"] == ["json_object"]


async def test_two_endpoints_have_forms_of_their_own(make: Make) -> None:
    async with ScriptedOpenAI(formats=()) as simple, ScriptedOpenAI() as strict:
        for server in (simple, strict):
            await make(server).extract(CONVERSATION, Profile(), POLICY)
    assert len(simple.calls) == 3
    assert len(strict.calls) == 1


async def test_a_form_that_one_conversation_alone_needed_is_not_taken_over(server: ScriptedOpenAI, make: Make) -> None:
    def odd(call: Call) -> Answer:
        is_refused = "odd" in call.prompt and call.body.get("response_format", {}).get("type") == "json_schema"
        return scripted.unexplained() if is_refused else None

    server.answer = odd
    extractor = make(server)
    await extractor.extract(CONVERSATION, Profile(), POLICY)
    assert (await extractor.extract(said("fact a/b: odd"), Profile(), POLICY)).facts
    await extractor.extract(CONVERSATION, Profile(), POLICY)
    asked = [call.body["response_format"]["type"] for call in server.calls]
    assert asked == ["json_schema", "json_schema", "json_object", "json_schema"]


async def test_a_server_that_forgets_structured_output_while_we_run_is_followed(make: Make) -> None:
    formats = ["json_schema", "json_object"]
    async with ScriptedOpenAI() as server:

        def lost(call: Call) -> Answer:
            wanted = call.body.get("response_format", {}).get("type")
            return None if wanted in formats else scripted.bad_request("response_format")

        server.answer = lost
        extractor = make(server)
        await extractor.extract(CONVERSATION, Profile(), POLICY)
        formats.remove("json_schema")
        for _ in range(2):
            await extractor.extract(CONVERSATION, Profile(), POLICY)
    asked = [call.body["response_format"]["type"] for call in server.calls]
    assert asked == ["json_schema", "json_schema", "json_object", "json_object"]


def completion(**message: Any) -> Fault:
    choices = [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}]
    return Fault("status", body={"choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 7}})


@pytest.mark.parametrize(
    "message",
    [
        {"content": json.dumps(REPLY), "reasoning_content": 'maybe {"facts": []}'},
        {"content": None, "reasoning_content": json.dumps(REPLY)},
        {"content": "", "reasoning": json.dumps(REPLY)},
        {"content": f"<think>so {{}}</think>{json.dumps(REPLY)}"},
        {"content": f'I would say {{"facts": []}}, or rather</think>\n```json\n{json.dumps(REPLY)}\n```'},
        {"content": f"<think>never closed, but {json.dumps(REPLY)}"},
    ],
)
async def test_the_answer_is_found_beside_reasoning(server: ScriptedOpenAI, make: Make, message: Any) -> None:
    server.fail("extract", completion(**message))
    extraction = await make(server).extract(CONVERSATION, Profile(), POLICY)
    assert [fact.memo for fact in extraction.facts] == ["likes figs"]
    assert len(server.calls) == 1


async def test_tokens_and_time_of_calls_in_vain_are_told_with_the_error(server: ScriptedOpenAI, make: Make) -> None:
    server.fail("extract", *(completion(content="no JSON") for _ in range(2)))
    with pytest.raises(ContentRejected) as caught:
        await make(server, llm={"model": "m"}).extract(CONVERSATION, Profile(), POLICY)
    assert caught.value.usage is not None
    usage = caught.value.usage
    assert (usage.completions, usage.prompt_tokens, usage.completion_tokens) == (2, 10, 14)
    assert [name for name, _ in usage.models] == ["m"]


async def test_a_refusal_after_a_repair_counts_both_calls(server: ScriptedOpenAI, make: Make) -> None:
    server.fail("extract", completion(content="no JSON"), scripted.refusal())
    with pytest.raises(ContentRejected) as caught:
        await make(server).extract(CONVERSATION, Profile(), POLICY)
    assert caught.value.usage is not None
    assert caught.value.usage.completions == 2


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, "invalid_api_key", "API key not valid"),
        (400, "model_not_found", "no such model"),
        (402, "payment", "Insufficient Balance"),
    ],
)
async def test_key_model_and_balance_are_known_under_other_statuses(
    server: ScriptedOpenAI, make: Make, status: int, code: str, message: str
) -> None:
    server.always = Fault("status", status, {"error": {"code": code, "type": code, "message": message}})
    with pytest.raises(EndpointRefused):
        await make(server).extract(CONVERSATION, Profile(), POLICY)


async def test_a_pause_that_one_call_is_told_of_is_kept_by_all(server: ScriptedOpenAI, make: Make) -> None:
    server.fail("extract", scripted.rate_limited(MAX_PAUSE_S + 100))
    extractor = make(server)
    for _ in range(3):
        with pytest.raises(RetryLater) as caught:
            await extractor.extract(CONVERSATION, Profile(), POLICY)
        assert caught.value.delay_s > MAX_PAUSE_S
    assert len(server.calls) == 1


async def test_a_pause_of_the_chat_endpoint_does_not_stop_embeddings(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server)
    extraction = await extractor.extract(CONVERSATION, Profile(), POLICY)
    server.fail("extract", scripted.rate_limited(MAX_PAUSE_S + 100))
    with pytest.raises(RetryLater):
        await extractor.extract(CONVERSATION, Profile(), POLICY)
    assert (await extractor.merge(extraction, Profile(), POLICY)).changes


async def test_no_more_calls_are_open_than_the_limit_allows(server: ScriptedOpenAI, make: Make) -> None:
    server.answer = lambda call: scripted.slow(0.02)
    extractor = make(server, llm={"concurrency": 3})
    await asyncio.gather(*(extractor.extract(said(str(number)), Profile(), POLICY) for number in range(12)))
    assert server.most_open == 3
    assert len(server.calls) == 12


async def test_organize_and_compact_ask_the_summary_model(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server, llm={"model": "large", "summary_model": "small"})
    policy = ProfilePolicy(max_sub_topics=2, max_memo_tokens=16)
    conversation = said(*(f"fact hobby/{name}: {name} {'and more ' * 12}" for name in ("chess", "darts", "golf")))
    await extractor.merge(await extractor.extract(conversation, Profile(), policy), Profile(), policy)
    asked = {call.kind: call.body["model"] for call in server.calls if call.kind != "embed"}
    assert asked["extract"] == "large"
    assert {asked["organize"], asked["compact"]} == {"small"}


async def embedded(make: Make, server: ScriptedOpenAI, **embedding: Any) -> Any:
    extractor = make(server, embedding=embedding)
    extraction = await extractor.extract(CONVERSATION, Profile(), POLICY)
    return (await extractor.merge(extraction, Profile(), POLICY)).extraction


async def test_jina_is_told_what_the_vectors_are_for(server: ScriptedOpenAI, make: Make) -> None:
    extraction = await embedded(make, server, api="jina", model="jina-embeddings-v3")
    assert extraction.gists[0].embedding is not None
    body = server.calls[-1].body
    assert (body["task"], body["embedding_type"], body["dimensions"]) == ("retrieval.passage", "float", 16)
    assert "encoding_format" not in body


async def test_a_server_that_knows_no_format_of_vectors_is_asked_without_and_remembered(make: Make) -> None:
    async with ScriptedOpenAI(base64_embeddings=False) as server:
        server.answer = lambda call: scripted.bad_request("encoding_format") if "encoding_format" in call.body else None
        extractor = make(server)
        for _ in range(2):
            extraction = await extractor.extract(CONVERSATION, Profile(), POLICY)
            assert (await extractor.merge(extraction, Profile(), POLICY)).extraction.gists[0].embedding is not None
    assert server.count("embed") == 3


async def test_texts_too_long_together_are_embedded_apart_and_one_too_long_by_its_beginning(
    server: ScriptedOpenAI, make: Make
) -> None:
    server.answer = lambda call: (
        scripted.context_too_long() if call.kind == "embed" and len(call.prompt) > 100 else None
    )
    extractor = make(server)
    long = "moved " * 30
    conversation = said("event: moved to Oslo", f"event: {long.strip()}", "event: has a garden")
    extraction = await extractor.extract(conversation, Profile(), POLICY)
    update = await extractor.merge(extraction, Profile(), POLICY)
    assert all(gist.embedding is not None for gist in update.extraction.gists)
    assert any(call.body["input"] == [long.strip()[:89]] for call in server.calls if call.kind == "embed")


async def test_the_part_that_was_embedded_counts_where_the_other_fails(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server, llm={"max_retries": 0})
    extraction = await extractor.extract(said("event: moved to Oslo", "event: has a garden"), Profile(), POLICY)
    server.fail("embed", scripted.context_too_long(), None, scripted.server_error())
    with pytest.raises(RetryLater) as caught:
        await extractor.merge(extraction, Profile(), POLICY)
    assert caught.value.usage is not None
    assert caught.value.usage.embedding_calls == 1


async def test_an_embedding_that_is_refused_without_a_reason_is_unexplained(server: ScriptedOpenAI, make: Make) -> None:
    server.embed_always = scripted.unexplained()
    with pytest.raises(UnexplainedRefusal):
        await embedded(make, server)


async def test_embeddings_have_headers_and_query_of_their_own(make: Make) -> None:
    async with ScriptedOpenAI() as chat, ScriptedOpenAI() as other:
        extractor = make(
            chat,
            llm={"default_headers": {"X-Team": "chat"}, "default_query": {"version": "1"}},
            embedding={"base_url": other.base_url, "default_headers": {"X-Team": "vectors"}},
        )
        await extractor.merge(await extractor.extract(CONVERSATION, Profile(), POLICY), Profile(), POLICY)
    assert other.calls[0].headers["X-Team"] == "vectors"
    assert "version" not in other.calls[0].query


async def test_fields_of_the_configuration_are_added_to_the_body(server: ScriptedOpenAI, make: Make) -> None:
    await make(server, llm={"extra_body": {"thinking": {"type": "disabled"}}}).extract(CONVERSATION, Profile(), POLICY)
    assert server.calls[0].body["thinking"] == {"type": "disabled"}
