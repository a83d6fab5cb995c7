"""Images through a whole attempt: a real database, real http, a scripted model."""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.settling import Settler
from extraction.factory import create_extractor
from extraction.protocol import Extractor
from schemas.settings import Settings
from schemas.windows import Unit
from storage.tables import outbox
from tests.support.extracting import unit, window
from tests.support.scripted_openai import Answer, Call, ScriptedOpenAI, bad_request
from tests.support.settling import Bench

DIMENSION = 256
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
REFUSED = "https://example.com/refused.png"


def picture(blob_id: str, offset: int, **data: Any) -> Unit:
    return unit(blob_id, offset=offset).model_copy(update={"content": {"blob_type": "image", "blob_data": data}})


def look(call: Call) -> Answer:
    """One fact for each image; an endpoint that cannot fetch one refuses the whole call."""
    if any(REFUSED in image for image in call.images):
        return bad_request("messages", "Bad Request")
    facts = [
        {"topic": "seen", "sub_topic": f"image_{image.split(':')[0]}", "memo": "a fig tree", "message_indices": [index]}
        for index, image in enumerate(call.images)
    ]
    return {"facts": facts, "events": [], "summary": None} if facts else None


@pytest.fixture
async def server() -> AsyncIterator[ScriptedOpenAI]:
    async with ScriptedOpenAI(dimension=DIMENSION) as running:
        running.answer = look
        yield running


@pytest.fixture
async def bench(engine: AsyncEngine, server: ScriptedOpenAI) -> AsyncIterator[Bench[Extractor]]:
    settings = Settings.model_validate(
        {
            "extraction": {"provider": "openai"},
            "llm": {"base_url": server.base_url, "max_retries": 0, "vision": True},
            "embedding": {"dimension": DIMENSION},
        }
    )
    extractor = create_extractor(settings)
    bench = Bench(engine, extractor)
    bench.deps = replace(bench.deps, reads_images=settings.reads_images)
    bench.settler = Settler(bench.deps)
    yield bench
    await extractor.close()


async def test_what_an_image_shows_becomes_memory(bench: Bench[Extractor], server: ScriptedOpenAI) -> None:
    assert await bench.settle(window(picture("a", 0, base64=PNG)))
    assert await bench.memos() == {"image_0": "a fig tree"}
    assert server.calls[0].images == [f"0:data:image/png;base64,{PNG}"]
    assert await bench.unit_states() == [("a", -1, "applied", None)]


async def test_an_image_that_the_endpoint_refuses_is_parked_alone_and_its_user_goes_on(
    bench: Bench[Extractor], server: ScriptedOpenAI
) -> None:
    images = window(picture("a", 0, base64=PNG), picture("b", 1, url=REFUSED), picture("c", 2, base64=PNG))
    assert await bench.settle(images)
    assert [row[:3] for row in await bench.unit_states()] == [
        ("a", -1, "applied"),
        ("b", -1, "parked"),
        ("c", -1, "applied"),
    ]
    assert bench.slept == []
    assert bench.deps.health.problems == {}
    assert await bench.settle(window(unit("d", "fact interest/foods: likes figs", offset=3)))
    assert (await bench.memos())["foods"] == "likes figs"


async def test_what_is_no_image_is_parked_before_the_model_is_asked(
    bench: Bench[Extractor], server: ScriptedOpenAI
) -> None:
    svg = base64.b64encode(b"<svg/>").decode()
    assert await bench.settle(window(picture("a", 0, base64=svg), picture("b", 1, url="file:///etc/passwd")))
    assert [row[2:] for row in await bench.unit_states()] == [("parked", "unsupported-content")] * 2
    assert server.calls == []
    async with bench.engine.connect() as connection:
        headers = (await connection.scalars(select(outbox.c.headers).filter_by(aggregatetype="dead-letters"))).all()
    said = " ".join(map(str, headers))
    assert "PNG, JPEG, GIF or WebP" in said
    assert "passwd" not in said
