"""Blobs of every type through the buffer step and a scripted endpoint: what is asked, and what facts are taken from."""

import base64
from collections.abc import Sequence
from typing import Any

import pytest

from schemas.conversation import conversation_of
from schemas.errors import ContentRejected, UnexplainedRefusal
from schemas.memory import Extraction, Profile
from schemas.profile_schema import ProfilePolicy
from schemas.settings import BufferSettings
from schemas.tokens import estimate_tokens
from schemas.windows import Window
from streams.windowing import WindowPolicy
from tests.integration.extraction.conftest import Make
from tests.support import scripted_openai as scripted
from tests.support.buffer_step import StepRun, context, flush, letters, only_windows, raw
from tests.support.scripted_openai import Fault, ScriptedOpenAI

POLICY = ProfilePolicy()
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
FIGS = {"facts": [{"topic": "interest", "sub_topic": "foods", "memo": "grows figs", "message_indices": [0]}]}


def windows_of(*blobs: dict[str, Any]) -> list[Window]:
    """What the buffer makes of the blobs under its default limits."""
    run = StepRun(settings=context(WindowPolicy.from_settings(BufferSettings())))
    records = [{"user_id": "u1", "id": f"b{number}", **blob} for number, blob in enumerate(blobs)]
    run.commit([raw(record, number) for number, record in enumerate([*records, flush()])])
    assert letters(run) == []
    return only_windows(run.sent)


def blob(blob_type: str, **data: Any) -> dict[str, Any]:
    return {"blob_type": blob_type, "created_at": "2026-11-20T10:00:00Z", "blob_data": data}


async def extract_all(windows: Sequence[Window], make: Make, server: ScriptedOpenAI, **llm: Any) -> list[Extraction]:
    extractor = make(server, llm=llm)
    return [await extractor.extract(conversation_of(window.units), Profile(), POLICY) for window in windows]


async def test_an_image_is_shown_to_a_model_that_sees(server: ScriptedOpenAI, make: Make) -> None:
    server.script(FIGS)
    windows = windows_of(blob("image", base64=PNG), blob("image", url="https://example.com/tree.jpg"))
    assert [len(window.units) for window in windows] == [2]
    (extraction,) = await extract_all(windows, make, server, vision=True)
    assert server.calls[0].images == [f"0:data:image/png;base64,{PNG}", "1:https://example.com/tree.jpg"]
    assert [(fact.memo, fact.message_ids) for fact in extraction.facts] == [("grows figs", ("b0/0",))]


async def test_a_model_that_does_not_see_is_not_asked_about_images(server: ScriptedOpenAI, make: Make) -> None:
    (extraction,) = await extract_all(windows_of(blob("image", base64=PNG)), make, server)
    assert extraction.facts == ()
    assert server.calls == []


async def test_an_image_that_the_endpoint_refuses_is_its_contents_fault(server: ScriptedOpenAI, make: Make) -> None:
    server.always = scripted.bad_request("messages", "could not fetch the picture")
    with pytest.raises(UnexplainedRefusal) as caught:
        await extract_all(windows_of(blob("image", base64=PNG)), make, server, vision=True)
    assert isinstance(caught.value, ContentRejected)
    assert PNG not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        scripted.bad_request("messages.[1].content.[2].image_url", "Timeout while downloading the picture"),
        scripted.bad_request("", "llama is not a multimodal model"),
    ],
)
async def test_an_endpoint_that_says_so_is_asked_once(fault: Fault, server: ScriptedOpenAI, make: Make) -> None:
    server.always = fault
    with pytest.raises(ContentRejected, match="refused an image") as caught:
        await extract_all(windows_of(blob("image", base64=PNG)), make, server, vision=True)
    assert type(caught.value) is ContentRejected
    assert len(server.calls) == 1


async def test_the_images_of_a_window_are_within_the_limit_of_its_tokens() -> None:
    windows = windows_of(*(blob("image", url=f"https://example.com/{number}") for number in range(9)))
    assert [len(window.units) for window in windows] == [2, 2, 2, 2, 1]
    assert all(window.token_count <= 16_384 for window in windows)


async def test_a_transcript_names_its_speakers_and_times(server: ScriptedOpenAI, make: Make) -> None:
    lines = [
        {"content": "How is the garden?", "speaker": "Bo", "start_timestamp_in_seconds": 0},
        {"content": "fact interest/foods: grows figs", "speaker": "user", "start_timestamp_in_seconds": 3.5},
    ]
    (extraction,) = await extract_all(windows_of(blob("transcript", transcripts=lines)), make, server)
    asked = server.calls[0].input
    assert "0 [2026/11/20 +0:00:00] Bo(transcript): How is the garden?" in asked
    assert "1 [2026/11/20 +0:00:03] user(transcript): fact interest/foods: grows figs" in asked
    assert [(fact.memo, fact.message_ids) for fact in extraction.facts] == [("grows figs", ("b0/1",))]


async def test_facts_are_taken_from_summaries_docs_and_code(server: ScriptedOpenAI, make: Make) -> None:
    windows = windows_of(
        blob("summary", summary="fact interest/foods: likes figs"),
        blob("doc", content="Notes.\nfact interest/sports: rows"),
        blob("code", content='x = """\nfact work/title: welder\n"""', language="python"),
    )
    extractions = await extract_all(windows, make, server)
    found = {fact.memo: fact.message_ids for extraction in extractions for fact in extraction.facts}
    assert found == {"likes figs": ("b0/0",), "rows": ("b1/0",), "welder": ("b2/0",)}


@pytest.mark.parametrize(
    "sentence", ["The harvest was good and the ladder held. ", "今年的收成很好，梯子也很结实。"], ids=["en", "zh"]
)
async def test_a_long_doc_becomes_several_windows_and_no_fact_in_it_is_lost(
    sentence: str, server: ScriptedOpenAI, make: Make
) -> None:
    paragraphs = []
    for number in range(60):
        filler = sentence * (1000 // estimate_tokens(sentence))
        paragraphs.append(f"{filler}\nfact notes/n{number}: statement {number}\n")
    text = "\n".join(paragraphs)
    assert estimate_tokens(text) > 59_000
    windows = windows_of(blob("doc", content=text))
    assert len(windows) == 4
    assert all(window.token_count <= 16_384 for window in windows)
    assert "".join(unit.content["blob_data"]["content"] for window in windows for unit in window.units) == text
    assert [(unit.message_index, unit.part) for window in windows for unit in window.units] == [
        (0, part) for part in range(4)
    ]
    extractions = await extract_all(windows, make, server)
    facts = [fact for extraction in extractions for fact in extraction.facts]
    assert [fact.sub_topic for fact in facts] == [f"n{number}" for number in range(60)]
    assert {fact.message_ids for fact in facts} == {("b0/0",)}


@pytest.mark.parametrize("content", ["", "  \n\t ", "\u3000"])
@pytest.mark.parametrize("blob_type", ["chat", "doc", "summary", "transcript"])
async def test_blank_blobs_cost_no_call(blob_type: str, content: str, server: ScriptedOpenAI, make: Make) -> None:
    data: dict[str, dict[str, Any]] = {
        "chat": {"messages": [{"role": "user", "content": content}]},
        "doc": {"content": content},
        "summary": {"summary": content},
        "transcript": {"transcripts": [{"content": content, "start_timestamp_in_seconds": 0}]},
    }
    (extraction,) = await extract_all(windows_of(blob(blob_type, **data[blob_type])), make, server)
    assert extraction == Extraction()
    assert server.calls == []
