"""Gateways that read: with the policies of projects, and with a chat model where a test wants one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from api.gateway import Gateway
from extraction.factory import create_reader
from schemas.health import Health
from schemas.settings import Settings
from schemas.tokens import estimate_tokens
from storage.policies import PolicyBook, stored_in
from tests.support.http_gateway import client_of, gateway_on
from tests.support.scripted_openai import ScriptedOpenAI


def reading_gateway(engine: AsyncEngine, settings: Settings | None = None, **parts: Any) -> Gateway:
    """A gateway that can read everything; `parts` are its embedder and its reader."""
    settings = settings or Settings()
    policies = PolicyBook(settings, stored_in(engine), Health())
    return gateway_on(engine, settings, **{"policies": policies, "count_tokens": estimate_tokens, **parts})


@asynccontextmanager
async def client_with_model(
    engine: AsyncEngine, endpoint: ScriptedOpenAI, **llm: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway whose chat model is a scripted one; `llm` are settings of that section."""
    settings = Settings.model_validate(
        {
            "extraction": {"provider": "openai"},
            "llm": {"base_url": endpoint.base_url, "api_key": "k", "max_retries": 0, **llm},
        }
    )
    reader = create_reader(settings)
    if reader is None:
        raise ValueError("provider openai has a chat model")
    try:
        async with client_of(reading_gateway(engine, settings, reader=reader)) as client:
            yield client
    finally:
        await reader.close()
