"""Extractors of the openai provider, pointed at a scripted server."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from extraction.factory import create_extractor
from extraction.protocol import Extractor
from schemas.settings import Settings
from tests.support.scripted_openai import ScriptedOpenAI

Make = Callable[..., Extractor]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedOpenAI]:
    async with ScriptedOpenAI() as running:
        yield running


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        def create(server: ScriptedOpenAI, *, llm: dict[str, Any] | None = None, **sections: Any) -> Extractor:
            settings = Settings.model_validate(
                {
                    "extraction": {"provider": "openai", **sections.get("extraction", {})},
                    "llm": {"base_url": server.base_url, "api_key": "sk-secret", "max_retries": 0, **(llm or {})},
                    "embedding": {"dimension": server.dimension, **sections.get("embedding", {})},
                }
            )
            extractor = create_extractor(settings)
            stack.push_async_callback(extractor.close)
            return extractor

        yield create
