"""The gateway inside a test's own process: real routes on a real database, all that needs Kafka or a model away."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from api.access import Gatekeeper, stored_in
from api.application import create_app
from api.gateway import Gateway
from api.insert_counts import InsertCounter
from schemas.errors import RetryLater
from schemas.settings import Settings
from storage.project_usage import adding_to

ROOT_TOKEN = "root-of-this-test"
NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


class Failing:
    """Stands for any part of a gateway; whatever it is asked, it raises an error."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *_: object, **__: object) -> Any:
        raise self._error()


def away() -> RetryLater:
    """What a part answers that is not there at the moment."""
    return RetryLater("away, as this test wants it")


def gateway_on(engine: AsyncEngine, settings: Settings | None = None, **parts: Any) -> Gateway:
    """A gateway on a database; of its other parts those that are given, and the rest away."""
    settings = settings or Settings()
    known = {
        "settings": settings,
        "engine": engine,
        "gatekeeper": Gatekeeper(stored_in(engine), ROOT_TOKEN),
        "inserts": InsertCounter(adding_to(engine), lambda: NOW),
        "now": lambda: NOW,
        "new_id": uuid4,
        "embedder": None,
        "reader": None,
        "count_tokens": len,
    }
    others = {
        field.name: Failing(away)
        for field in fields(Gateway)
        if field.default is MISSING and field.default_factory is MISSING
    }
    return Gateway(**{**others, **known, **parts})


@asynccontextmanager
async def client_of(gateway: Gateway, token: str = ROOT_TOKEN, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway that sends a token, and what is said of these headers."""
    transport = httpx.ASGITransport(app=create_app(gateway))
    sent = {"Authorization": f"Bearer {token}", **headers}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=sent) as client:
        yield client
