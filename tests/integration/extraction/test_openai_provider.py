"""The openai provider against a scripted server over real HTTP: calls, answers, faults."""

import asyncio
from typing import Any

import numpy as np
import pytest

from extraction.endpoint.limits import MAX_PAUSE_S
from schemas.errors import ContentRejected, ContextTooLong, EndpointRefused, RetryLater, UnexplainedRefusal
from schemas.memory import Profile
from schemas.profile_schema import ProfilePolicy
from tests.integration.extraction.conftest import Make
from tests.support import scripted_openai as scripted
from tests.support.scripted_openai import Fault, ScriptedOpenAI
from tests.unit.extraction.builders import applied, at, contents, profile, said, slot

POLICY = ProfilePolicy()
CONVERSATION = said("fact interest/foods: likes figs", "event: moved to Oslo")


async def test_a_conversation_becomes_facts_events_and_a_summary_with_provenance(
    server: ScriptedOpenAI, make: Make
) -> None:
    extraction = await make(server).extract(CONVERSATION, Profile(), POLICY)
    fact, gist = extraction.facts[0], extraction.gists[0]
    assert (fact.topic, fact.sub_topic, fact.memo) == ("interest", "foods", "likes figs")
    assert (fact.message_ids, fact.occurred_at) == (("b0/0",), at(0))
    assert (gist.text, gist.message_ids) == ("moved to Oslo", ("b0/1",))
    assert extraction.summary == "likes figs"
    assert extraction.usage.prompt_tokens == server.prompt_tokens > 0


async def test_a_usual_window_costs_two_completions_and_one_embedding_call(server: ScriptedOpenAI, make: Make) -> None:
    extractor, held = make(server), profile(slot("likes tea"))
    update = await extractor.merge(await extractor.extract(CONVERSATION, held, POLICY), held, POLICY)
    assert [server.count("extract"), server.count("merge"), server.count("embed")] == [1, 1, 1]
    assert (update.usage.completions, update.usage.embedding_calls) == (2, 1)
    assert contents(applied(held, update)) == {"interest/foods": "likes figs"}


async def test_new_slots_and_known_facts_cost_no_merge_call(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server)
    for held in (Profile(), profile(slot("Likes figs."))):
        await extractor.merge(await extractor.extract(CONVERSATION, held, POLICY), held, POLICY)
    assert server.count("merge") == 0


async def test_embeddings_are_unit_length_and_belong_to_their_texts(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server)
    update = await extractor.merge(await extractor.extract(CONVERSATION, Profile(), POLICY), Profile(), ProfilePolicy())
    expected = scripted.embedding_of("moved to Oslo", server.dimension)
    assert update.extraction.gists[0].embedding is not None
    np.testing.assert_allclose(update.extraction.gists[0].embedding, expected, rtol=1e-6)
    assert update.extraction.summary_embedding is not None
    assert np.linalg.norm(update.extraction.summary_embedding) == pytest.approx(1.0)
    assert server.calls[-1].body["encoding_format"] == "base64"


async def test_a_new_slot_is_embedded_in_the_call_of_its_window_and_a_merged_one_is_not(
    server: ScriptedOpenAI, make: Make
) -> None:
    extractor = make(server)
    for held, slots in ((Profile(), ["interest foods: likes figs"]), (profile(slot("likes tea")), [])):
        update = await extractor.merge(await extractor.extract(CONVERSATION, held, POLICY), held, POLICY)
        assert [text for text, _ in update.extraction.slot_embeddings] == slots
        for text, vector in update.extraction.slot_embeddings:
            np.testing.assert_allclose(vector, scripted.embedding_of(text, server.dimension), rtol=1e-6)
    assert server.count("embed") == 2


async def test_embeddings_sent_as_lists_are_read_too(make: Make) -> None:
    async with ScriptedOpenAI(base64_embeddings=False) as server:
        extractor = make(server)
        update = await extractor.merge(
            await extractor.extract(CONVERSATION, Profile(), POLICY), Profile(), ProfilePolicy()
        )
    assert update.extraction.gists[0].embedding is not None


async def test_merging_again_embeds_nothing_again(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server)
    first = await extractor.merge(await extractor.extract(CONVERSATION, Profile(), POLICY), Profile(), ProfilePolicy())
    await extractor.merge(first.extraction, profile(slot("likes tea")), POLICY)
    assert (server.count("embed"), server.count("extract"), server.count("merge")) == (1, 1, 1)


async def test_embeddings_switched_off_are_not_asked_for(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server, embedding={"enabled": False})
    await extractor.merge(await extractor.extract(CONVERSATION, Profile(), POLICY), Profile(), POLICY)
    assert server.count("embed") == 0


async def test_no_messages_cost_no_call(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server)
    extraction = await extractor.extract([], Profile(), POLICY)
    assert (await extractor.merge(extraction, Profile(), POLICY)).changes == ()
    assert server.calls == []


async def test_a_conversation_without_facts_costs_one_call(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server)
    extraction = await extractor.extract(said("hello"), Profile(), POLICY)
    update = await extractor.merge(extraction, Profile(), POLICY)
    assert (len(server.calls), extraction.summary, update.changes) == (1, None, ())


async def test_an_older_statement_of_a_single_value_is_dropped_without_a_call(
    server: ScriptedOpenAI, make: Make
) -> None:
    extractor = make(server)
    held = profile(slot("Oslo", "city", topic="contact_info", day=9))
    extraction = await extractor.extract(said("fact contact_info/city: Paris"), held, POLICY)
    update = await extractor.merge(extraction, held, POLICY)
    assert [reason for _, reason in update.dropped] == ["older"]
    assert server.count("merge") == 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (scripted.unauthorized(), EndpointRefused),
        (scripted.unknown_model(), EndpointRefused),
        (scripted.no_quota(), EndpointRefused),
        (scripted.rate_limited(), RetryLater),
        (scripted.server_error(), RetryLater),
        (scripted.server_error(503), RetryLater),
        (scripted.cut_connection(), RetryLater),
        (scripted.malformed_json(), RetryLater),
        (scripted.hang(), RetryLater),
        (scripted.context_too_long(), ContextTooLong),
        (scripted.cut_off(), ContextTooLong),
        (scripted.refusal(), ContentRejected),
        (scripted.content_filter(), ContentRejected),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
async def test_a_fault_is_translated_into_what_must_be_done(
    server: ScriptedOpenAI, make: Make, fault: Fault, error: type[Exception]
) -> None:
    server.always = fault
    extractor = make(server, llm={"timeout_s": 0.5})
    with pytest.raises(error) as caught:
        await extractor.extract(CONVERSATION, Profile(), POLICY)
    assert type(caught.value) is error
    assert "figs" not in str(caught.value)
    assert "sk-secret" not in str(caught.value)


async def test_an_unreachable_endpoint_is_tried_later(make: Make) -> None:
    async with ScriptedOpenAI() as server:
        extractor = make(server)
    with pytest.raises(RetryLater):
        await extractor.extract(CONVERSATION, Profile(), POLICY)


async def test_a_long_retry_after_is_handed_to_the_caller(server: ScriptedOpenAI, make: Make) -> None:
    server.always = scripted.rate_limited(MAX_PAUSE_S + 37)
    with pytest.raises(RetryLater) as caught:
        await make(server, llm={"max_retries": 3}).extract(CONVERSATION, Profile(), POLICY)
    assert caught.value.delay_s == MAX_PAUSE_S + 37
    assert len(server.calls) == 1


async def test_a_short_fault_is_retried(server: ScriptedOpenAI, make: Make) -> None:
    server.script(scripted.server_error(), scripted.rate_limited(0.01))
    extraction = await make(server, llm={"max_retries": 2}).extract(CONVERSATION, Profile(), POLICY)
    assert (len(extraction.facts), len(server.calls)) == (1, 3)


async def test_retries_are_bounded(server: ScriptedOpenAI, make: Make) -> None:
    server.always = scripted.rate_limited(0.01)
    with pytest.raises(RetryLater):
        await make(server, llm={"max_retries": 2}).extract(CONVERSATION, Profile(), POLICY)
    assert len(server.calls) == 3


async def test_a_reply_that_does_not_validate_is_sent_back_once_with_the_error(
    server: ScriptedOpenAI, make: Make
) -> None:
    server.script(
        {"facts": [{"topic": "interest", "sub_topic": "foods", "memo": "likes figs", "message_indices": [9]}]}, None
    )
    extraction = await make(server).extract(CONVERSATION, Profile(), POLICY)
    assert (len(extraction.facts), extraction.usage.completions) == (1, 2)
    assert "message_indices" in server.calls[1].body["messages"][-1]["content"]


async def test_a_reply_that_is_no_unicode_can_be_sent_back_too(server: ScriptedOpenAI, make: Make) -> None:
    server.script("no JSON \ud800", None)
    extraction = await make(server).extract(CONVERSATION, Profile(), POLICY)
    assert (len(extraction.facts), extraction.usage.completions) == (1, 2)


@pytest.mark.parametrize("bad", ["no JSON", {"wrong": 1}, {"facts": [{"memo": "x"}]}])
async def test_a_reply_that_fails_twice_is_rejected(server: ScriptedOpenAI, make: Make, bad: Any) -> None:
    server.script(bad, bad)
    with pytest.raises(ContentRejected):
        await make(server).extract(CONVERSATION, Profile(), POLICY)
    assert len(server.calls) == 2


async def test_a_merge_reply_that_leaves_a_fact_out_is_sent_back(server: ScriptedOpenAI, make: Make) -> None:
    extractor, held = make(server), profile(slot("likes tea"))
    extraction = await extractor.extract(CONVERSATION, held, POLICY)
    server.script({"decisions": []}, {"decisions": [{"index": 0, "action": "append", "memo": None}]})
    update = await extractor.merge(extraction, held, POLICY)
    assert [change.after for change in update.changes] == ["likes tea; likes figs"]


async def test_an_aborted_fact_is_recorded_as_such(server: ScriptedOpenAI, make: Make) -> None:
    extractor, held = make(server), profile(slot("likes tea"))
    extraction = await extractor.extract(CONVERSATION, held, POLICY)
    server.script({"decisions": [{"index": 0, "action": "abort", "memo": None}]})
    update = await extractor.merge(extraction, held, POLICY)
    assert (update.changes, update.dropped) == ((), ((extraction.facts[0], "aborted"),))


async def test_a_failing_merge_leaves_no_embedding_task_behind(server: ScriptedOpenAI, make: Make) -> None:
    extractor, held = make(server), profile(slot("likes tea"))
    extraction = await extractor.extract(CONVERSATION, held, POLICY)
    server.always, server.embed_always = scripted.server_error(), scripted.hang()
    before = asyncio.all_tasks()
    with pytest.raises(RetryLater):
        await extractor.merge(extraction, held, POLICY)
    assert not [task for task in asyncio.all_tasks() - before if "embed" in repr(task.get_coro()).lower()]


async def test_what_an_embedding_costs_beside_a_failing_merge_is_counted(server: ScriptedOpenAI, make: Make) -> None:
    extractor, held = make(server), profile(slot("likes tea"))
    extraction = await extractor.extract(CONVERSATION, held, POLICY)
    server.always, server.embed_always = scripted.server_error(), scripted.slow(0.2)
    with pytest.raises(RetryLater) as failed:
        await extractor.merge(extraction, held, POLICY)
    assert failed.value.usage is not None
    assert failed.value.usage.embedding_calls == 1
    assert failed.value.usage.embedding_tokens > 0


async def test_a_failing_embedding_fails_the_merge(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server)
    extraction = await extractor.extract(CONVERSATION, Profile(), POLICY)
    server.embed_always = scripted.server_error()
    with pytest.raises(RetryLater):
        await extractor.merge(extraction, Profile(), POLICY)


async def test_a_failing_embedding_does_not_wait_for_the_merge_call(server: ScriptedOpenAI, make: Make) -> None:
    extractor, held = make(server), profile(slot("likes tea"))
    extraction = await extractor.extract(CONVERSATION, held, POLICY)
    server.always, server.embed_always = scripted.hang(), scripted.unauthorized()
    with pytest.raises(EndpointRefused):
        await extractor.merge(extraction, held, POLICY)


async def test_embeddings_of_another_dimension_refuse_the_endpoint(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server, embedding={"dimension": 8})
    extraction = await extractor.extract(CONVERSATION, Profile(), POLICY)
    with pytest.raises(EndpointRefused, match="16 dimensions, not 8"):
        await extractor.merge(extraction, Profile(), POLICY)


@pytest.mark.parametrize(("formats", "asked"), [(("json_object",), 2), ((), 3)])
async def test_a_server_without_structured_output_is_asked_in_a_simpler_form_and_remembered(
    make: Make, formats: tuple[str, ...], asked: int
) -> None:
    async with ScriptedOpenAI(formats=formats) as server:
        extractor = make(server)
        await extractor.extract(CONVERSATION, Profile(), POLICY)
        assert len(server.calls) == asked
        await extractor.extract(CONVERSATION, Profile(), POLICY)
        assert len(server.calls) == asked + 1


async def test_a_model_with_other_parameters_is_asked_in_its_own_terms(server: ScriptedOpenAI, make: Make) -> None:
    server.script(
        scripted.bad_request("max_tokens", "use max_completion_tokens"), scripted.bad_request("temperature"), None
    )
    await make(server).extract(CONVERSATION, Profile(), POLICY)
    last = server.calls[-1].body
    assert "max_completion_tokens" in last
    assert "temperature" not in last
    assert last["response_format"]["type"] == "json_schema"


async def test_a_refusal_of_one_conversation_costs_the_others_no_structured_output(
    server: ScriptedOpenAI, make: Make
) -> None:
    server.answer = lambda call: scripted.bad_request("temperature") if "odd bytes" in call.prompt else None
    extractor = make(server)
    with pytest.raises(UnexplainedRefusal):
        await extractor.extract(said("odd bytes"), Profile(), POLICY)
    await extractor.extract(CONVERSATION, Profile(), POLICY)
    last = server.calls[-1].body
    assert last["response_format"]["type"] == "json_schema"
    assert "temperature" in last


async def test_a_server_that_counts_no_tokens_is_used_all_the_same(server: ScriptedOpenAI, make: Make) -> None:
    choice = {"message": {"content": '{"facts": []}'}}
    server.always = Fault("status", body={"choices": [choice], "usage": {"total_tokens": 3}})
    extraction = await make(server).extract(CONVERSATION, Profile(), POLICY)
    usage = extraction.usage
    assert (usage.completions, usage.tokens, usage.cached_tokens) == (1, 0, 0)


async def test_an_answer_that_is_no_text_is_asked_for_again_later(server: ScriptedOpenAI, make: Make) -> None:
    server.always = Fault("status", body={"choices": [{"message": {"content": [{"type": "text"}]}}]})
    with pytest.raises(RetryLater, match="no text"):
        await make(server).extract(CONVERSATION, Profile(), POLICY)


@pytest.mark.parametrize(
    "vector",
    [
        {},
        {"embedding": [1.0]},
        {"index": 0},
        {"index": 0, "embedding": [[[1.0]]]},
        {"index": 0, "embedding": [10**400]},
    ],
)
async def test_embeddings_that_cannot_be_read_are_asked_for_again_later(
    server: ScriptedOpenAI, make: Make, vector: dict[str, Any]
) -> None:
    server.embed_always = Fault("status", body={"data": [vector, vector], "usage": {"total_tokens": 3}})
    extractor = make(server)
    extraction = await extractor.extract(CONVERSATION, Profile(), POLICY)
    with pytest.raises(RetryLater):
        await extractor.merge(extraction, Profile(), POLICY)


async def test_a_call_that_is_taken_in_no_form_is_refused_unexplained(server: ScriptedOpenAI, make: Make) -> None:
    server.always = scripted.bad_request("model", "no")
    with pytest.raises(UnexplainedRefusal, match="status 400"):
        await make(server).extract(CONVERSATION, Profile(), POLICY)


async def test_the_configured_headers_query_key_and_model_are_sent(server: ScriptedOpenAI, make: Make) -> None:
    llm = {"default_headers": {"X-Team": "a"}, "default_query": {"api-version": "1"}, "model": "m", "temperature": 0.5}
    await make(server, llm=llm).extract(CONVERSATION, Profile(), POLICY)
    call = server.calls[0]
    assert (call.headers["X-Team"], call.query["api-version"]) == ("a", "1")
    assert call.headers["Authorization"] == "Bearer sk-secret"
    assert (call.body["model"], call.body["temperature"]) == ("m", 0.5)


async def test_the_key_of_the_chat_endpoint_is_not_shown_to_another_server(server: ScriptedOpenAI, make: Make) -> None:
    async with ScriptedOpenAI() as other:
        extractor = make(server, embedding={"base_url": other.base_url})
        await extractor.merge(await extractor.extract(CONVERSATION, Profile(), POLICY), Profile(), ProfilePolicy())
        assert (server.count("embed"), other.count("embed")) == (0, 1)
        assert "sk-secret" not in other.calls[0].headers["Authorization"]


async def test_a_chinese_conversation_is_asked_about_in_chinese(server: ScriptedOpenAI, make: Make) -> None:
    await make(server).extract(said("我住在上海，我喜欢爬山"), Profile(), POLICY)
    assert "只回答 JSON 对象" in server.calls[0].body["messages"][0]["content"]


async def test_the_configured_system_prompt_and_language_are_used(server: ScriptedOpenAI, make: Make) -> None:
    policy = ProfilePolicy(system_prompt="You are Ada.", language="zh")
    await make(server).extract(said("I live in Oslo"), Profile(), policy)
    system = server.calls[0].body["messages"][0]["content"]
    assert system.startswith("You are Ada.")
    assert "只回答 JSON 对象" in system


async def test_the_fixed_part_comes_first_and_is_the_same_for_every_user(server: ScriptedOpenAI, make: Make) -> None:
    extractor = make(server)
    await extractor.extract(said("I live in Oslo"), Profile(), POLICY)
    await extractor.extract(said("fact a/b: c"), profile(slot("likes tea")), POLICY)
    first, second = (call.body["messages"] for call in server.calls)
    assert first[0] == second[0]
    assert [message["role"] for message in first] == ["system", "user"]
