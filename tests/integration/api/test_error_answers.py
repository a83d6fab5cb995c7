"""Whatever fails inside, on any route: its caller is told a number and what to do, and neither SQL, text nor secret.

The log gets the same test: it names the error and where it came from, without what was being worked on.
"""

import asyncio
import io
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import httpx
import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from api.application import create_app
from api.gateway import Gateway
from schemas.errors import ConfigurationError, ContentRejected, RetryLater
from schemas.settings import StorageSettings, WorkerSettings
from storage.database import create_engine
from streams.logs import configure_logging
from tests.support.http_calls import OF_ROOT, OPEN, Call, Ids, operations
from tests.support.http_gateway import ROOT_TOKEN, Failing, client_of, gateway_on

# What a person said, and what an error's text might say of the inside.
SAID, INSIDE, PASSWORD, HOST = "zqsaidzq", "zqinsidezq", "zqpasswordzq", "zqhostzq"
NEVER_LOGGED: Final = re.compile(rf"{SAID}|{PASSWORD}|{ROOT_TOKEN}|SELECT |INSERT INTO|UPDATE \w+ SET")
# The log may say which host is away; a caller must not learn it.
NEVER_TOLD: Final = re.compile(rf"{NEVER_LOGGED.pattern}|{INSIDE}|{HOST}")
IDS: Final = Ids(user_id=f"{SAID} user", blob_id=f"{SAID} blob", words=SAID)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The log of a gateway at its most talkative, as `memostream api` sets it up."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging(WorkerSettings(log_level="debug", log_format="json"), stream)
    # A logger that keeps its form would have this one in all tests to come.
    structlog.configure(cache_logger_on_first_use=False)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def document_of(gateway: Gateway) -> Any:
    return create_app(gateway).openapi()


async def answers(gateway: Gateway) -> AsyncIterator[tuple[Call, httpx.Response]]:
    """Of every operation of a project, in one process."""
    async with client_of(gateway) as client:
        for call in operations(document_of(gateway), IDS):
            if call.template not in OPEN | OF_ROOT:
                params = httpx.QueryParams(list(call.query))
                async with asyncio.timeout(60):
                    response = await client.request(call.method, call.path, params=params, json=call.body)
                yield call, response


def errno_of(response: httpx.Response) -> int:
    body = response.json() if response.headers["content-type"].startswith("application/json") else {}
    return int(body.get("errno", 0)) or (response.status_code if response.status_code >= 400 else 0)


PARTS: Final = (
    "message_log", "buffers", "texts", "changes", "policies", "embedder", "reader", "end_offsets", "recent", "ledger",
)  # fmt: skip


@pytest.mark.parametrize(
    ("error", "errno"),
    [
        (lambda: RetryLater(f"broker {HOST}:9092 is away: {INSIDE}", 3), 503),
        (lambda: RuntimeError(f"{INSIDE} while reading {SAID} with {PASSWORD}"), 500),
        (lambda: ConfigurationError(f"kafka at {HOST}: {INSIDE}"), 500),
        (lambda: ContentRejected(f"the model refused: {INSIDE}"), None),
    ],
    ids=["away", "defect", "misconfigured", "refused"],
)
async def test_a_part_that_fails_is_told_by_number(
    engine: AsyncEngine, log: io.StringIO, error: Callable[[], Exception], errno: int | None
) -> None:
    parts: dict[str, Any] = {name: Failing(error) for name in PARTS}
    gateway = gateway_on(engine, **parts)
    numbers = set()
    async for call, response in answers(gateway):
        numbers.add(errno_of(response))
        told = response.text + str(response.headers)
        assert errno_of(response) == 0 or not NEVER_TOLD.search(told), (call.name, response.text)
        if errno_of(response) == 503:
            assert int(response.headers["Retry-After"]) >= 1
    assert errno is None or errno in numbers
    assert not NEVER_LOGGED.search(log.getvalue())


@pytest.mark.parametrize(
    ("statement", "errno"),
    [
        ("ALTER TABLE {table} RENAME COLUMN project_id TO owner", 500),
        ("ALTER TABLE {table} RENAME TO lost_{table}", 500),
    ],
    ids=["column", "table"],
)
async def test_a_database_of_another_shape_is_an_internal_error(
    engine: AsyncEngine, log: io.StringIO, statement: str, errno: int
) -> None:
    async with engine.begin() as connection:
        for table in ("users", "profiles", "events", "gists", "units", "ledger", "projects", "usage", "insert_counts"):
            await connection.execute(text(statement.format(table=table)))
    numbers = []
    async for call, response in answers(gateway_on(engine)):
        numbers.append(errno_of(response))
        assert errno_of(response) == 0 or not NEVER_TOLD.search(response.text), (call.name, response.text)
        if errno_of(response) == 500:
            assert response.headers["X-Request-ID"] in response.text
            assert response.headers["X-Request-ID"] in log.getvalue()
    assert numbers.count(errno) > 10
    assert not NEVER_LOGGED.search(log.getvalue())


async def test_a_database_that_is_away_is_errno_503_on_every_route(log: io.StringIO) -> None:
    url = f"postgresql+asyncpg://someone:{PASSWORD}@127.0.0.1:1/{HOST}"
    engine = create_engine(StorageSettings(database_url=SecretStr(url), connect_timeout_s=5))
    async for call, response in answers(gateway_on(engine)):
        assert errno_of(response) in (501, 503), (call.name, response.text)
        assert not NEVER_TOLD.search(response.text)
        # What this gateway does without is told at once.
        assert ("Retry-After" in response.headers) is (errno_of(response) == 503)
    # A token that is not known yet cannot be looked up.
    async with client_of(gateway_on(engine), "sk-shop-0123456789abcdef") as client:
        assert errno_of(await client.get("/api/v1/project/users")) == 503
    await engine.dispose()
    assert not NEVER_LOGGED.search(log.getvalue())
