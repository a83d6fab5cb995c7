"""The gateway as a process has it: whom it starts for, what it says of itself, how it stops. Its broker is away."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.app import NO_TOKEN, NOT_INSECURE, open_gateway, serve
from api.serving import MAX_HEAD_BYTES, STALLED_MS, open_socket, serve_app
from cli.gateway import at_place, open_place
from schemas.errors import ConfigurationError
from schemas.metrics import NAMES
from schemas.settings import ApiSettings, Settings
from storage.project_tokens import add_token, new_token
from tests.support.http_gateway import client_of, gateway_on
from tests.support.ports import free_port

ROOT_TOKEN = "root-of-this-test"
LIMIT_S = 60


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings.model_validate(
        {
            "kafka": {"bootstrap_servers": f"127.0.0.1:{free_port()}"},
            "storage": {"database_url": SecretStr(database_url)},
            "buffer": {"tokenizer": "estimate"},
            "api": {"root_token": SecretStr(ROOT_TOKEN), "port": free_port(), "produce_timeout_s": 0.5},
        }
    )


def without_root(settings: Settings) -> Settings:
    return settings.model_copy(update={"api": settings.api.model_copy(update={"root_token": None})})


@dataclass(frozen=True)
class Served:
    client: httpx.AsyncClient
    stop: asyncio.Event
    running: "asyncio.Task[int]"


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[Served]:
    stop = asyncio.Event()
    running = asyncio.create_task(serve(settings, stop))
    headers = {"Authorization": f"Bearer {ROOT_TOKEN}"}
    url = f"http://127.0.0.1:{settings.api.port}"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=LIMIT_S) as client:
        try:
            async with asyncio.timeout(LIMIT_S):
                while not await answers(client):
                    assert not running.done()
                    await asyncio.sleep(0.02)
            yield Served(client, stop, running)
        finally:
            stop.set()
            await asyncio.wait([running])


async def answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/livez")).status_code == 200
    except httpx.TransportError:
        return False


async def start(settings: Settings, *, insecure: bool = False) -> None:
    async with open_gateway(settings, insecure=insecure):
        pass


async def test_without_any_token_it_starts_only_when_it_is_told_to_be_insecure(settings: Settings) -> None:
    settings = without_root(settings)
    with pytest.raises(ConfigurationError, match="MEMOSTREAM_API__ROOT_TOKEN") as refused:
        await start(settings)
    assert str(refused.value) == NO_TOKEN
    async with open_gateway(settings, insecure=True) as gateway, client_of(gateway, "none") as client:
        assert (await client.get("/api/v1/project/billing")).json()["errno"] == 0


async def test_a_projects_token_is_enough_to_start(settings: Settings, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await add_token(connection, "shop", new_token("shop"), None, datetime.now(UTC))
    await start(without_root(settings))
    with pytest.raises(ConfigurationError) as refused:
        await start(without_root(settings), insecure=True)
    assert str(refused.value) == NOT_INSECURE


async def test_a_root_token_and_insecurity_exclude_each_other(settings: Settings) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await start(settings, insecure=True)
    assert str(refused.value) == NOT_INSECURE


async def test_it_reads_memory_and_is_ready_while_the_broker_is_away_and_says_that_it_is(settings: Settings) -> None:
    async with served(settings) as system:
        assert (await system.client.get("/api/v1/users/context/ann")).json()["errno"] == 0
        body = {"blob_type": "chat", "blob_data": {"messages": [{"role": "user", "content": "I moved to Oslo"}]}}
        answer = await system.client.post("/api/v1/blobs/insert/ann", json=body)
        assert (answer.status_code, answer.json()["errno"]) == (200, 503)
        assert "retry-after" in answer.headers
        ready = await system.client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["reasons"].keys() == {"broker", "workers"}
        page = await system.client.get("/metrics", headers={"Authorization": ""})
        shown = {family.name for family in text_string_to_metric_families(page.text)}
        of_gateway = {name for name in NAMES if name.startswith(("memostream_http_", "memostream_change_streams"))}
        assert {name.removesuffix("_total") for name in of_gateway} <= shown
        assert 'route="/api/v1/blobs/insert/{user_id}",status="503"' in page.text
        assert "ann" not in page.text
        system.stop.set()
        assert await system.running == 0


async def test_a_request_that_is_under_way_is_answered_before_it_ends(settings: Settings, engine: AsyncEngine) -> None:
    async with served(settings) as system, engine.begin() as connection:
        # The request waits for it.
        await connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        waiting = asyncio.create_task(system.client.get("/api/v1/users/ann"))
        async with asyncio.timeout(LIMIT_S):
            while not await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                await asyncio.sleep(0.01)
        system.stop.set()
        async with asyncio.timeout(LIMIT_S):
            while await answers(system.client):
                await asyncio.sleep(0.01)
        assert not waiting.done()
        await connection.rollback()
        answer = await waiting
        # The buffer is asked next, and its workers are away.
        assert answer.json()["errno"] in (404, 503)
        assert await system.running == 0


async def test_a_port_that_is_taken_is_told_with_what_to_do(settings: Settings) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", settings.api.port))
        other.listen()
        with pytest.raises(ConfigurationError, match=r"api\.port \d+ cannot be listened on at 127\.0\.0\.1"):
            await serve(settings, asyncio.Event())


def test_another_port_is_taken_where_the_default_one_is_not_free_and_none_is_configured() -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        default = ApiSettings.model_construct(_fields_set=set(), port=taken)
        with open_place(default) as place:
            settings = at_place(Settings(), place)
        assert settings.api.port not in (taken, 0)
        with pytest.raises(ConfigurationError, match=str(taken)):
            open_place(ApiSettings(port=taken))


def test_two_that_start_at_the_same_time_do_not_share_a_port() -> None:
    default = ApiSettings.model_construct(_fields_set=set(), port=free_port())
    with open_place(default) as first, open_place(default) as second:
        assert first.getsockname() != second.getsockname()


def test_a_host_may_be_a_name_or_an_address_of_either_kind() -> None:
    for host in ("localhost", "127.0.0.1", "0.0.0.0"):
        with open_socket(ApiSettings(host=host, port=free_port())) as opened:
            assert opened.getsockname()[1]
    with pytest.raises(ConfigurationError, match=r"api\.host"):
        open_socket(ApiSettings(host="nobody.invalid"))


@pytest.mark.parametrize("size", [1, 1 << 16], ids=["in bytes", "at once"])
async def test_a_body_is_read_though_its_request_asks_for_another_protocol(size: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(await Request(scope, receive).body())(scope, receive, send)

    request = (
        b"POST / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAEAAEAA\r\nContent-Length: 9\r\n\r\nwhat I am"
    )
    stop = asyncio.Event()
    with open_socket(ApiSettings(port=free_port())) as opened:
        serving = asyncio.create_task(serve_app(app, ApiSettings(), opened, stop))
        reader, writer = await asyncio.open_connection(*opened.getsockname())
        async with asyncio.timeout(LIMIT_S):
            # A connection goes on after it.
            for _ in range(2):
                for at in range(0, len(request), size):
                    writer.write(request[at : at + size])
                    await writer.drain()
                assert (await reader.readuntil(b"what I am")).startswith(b"HTTP/1.1 200")
        writer.close()
        stop.set()
        await serving


@pytest.mark.parametrize(
    "begin",
    [
        "GET / HTTP/1.1\r\nLong: ",
        "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nLong: ",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: ",
    ],
    ids=["first", "second", "trailer"],
)
async def test_a_head_that_does_not_end_is_cut_off_and_not_kept(begin: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response()(scope, receive, send)

    stop = asyncio.Event()
    with open_socket(ApiSettings(port=free_port())) as opened:
        serving = asyncio.create_task(serve_app(app, ApiSettings(), opened, stop))
        reader, writer = await asyncio.open_connection(*opened.getsockname())
        writer.write(begin.encode())
        with suppress(ConnectionError):
            async with asyncio.timeout(LIMIT_S):
                for _ in range(64):
                    writer.write(b"x" * MAX_HEAD_BYTES)
                    await writer.drain()
                while await reader.read(1 << 16):
                    pass
        writer.close()
        stop.set()
        await serving


if sys.platform == "linux":

    def test_a_connection_whose_caller_takes_nothing_does_not_stay() -> None:
        with open_socket(ApiSettings(port=free_port())) as opened:
            with socket.create_connection(opened.getsockname()):
                accepted, _ = opened.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == STALLED_MS


async def test_health_is_told_without_a_token_and_fails_with_the_database(engine: AsyncEngine) -> None:
    async def away() -> tuple[str, ...]:
        return ("Postgres does not answer (ConnectionRefusedError)",)

    async def well() -> tuple[str, ...]:
        return ()

    parts: dict[str, Any] = {"message_log": Well(), "buffers": Well()}
    async with client_of(gateway_on(engine, watch_database=away, **parts), "none") as client:
        answer = await client.get("/api/v1/healthcheck")
        assert (answer.status_code, answer.json()) == (500, {"detail": "Database not available"})
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        assert answer.json()["reasons"].keys() == {"database"}
        assert (await client.get("/livez")).json() == {"live": True}
    gateway = gateway_on(engine, watch_database=well, **parts)
    async with client_of(gateway, "none") as client:
        assert (await client.get("/api/v1/healthcheck")).json() == {"data": None, "errno": 0, "errmsg": ""}
        assert (await client.get("/readyz")).json() == {"ready": True, "reasons": {}}
        gateway.stopping.set()
        assert (await client.get("/readyz")).status_code == 503


async def test_only_the_root_token_may_have_the_models_asked(engine: AsyncEngine) -> None:
    token = new_token("shop")
    async with engine.begin() as connection:
        await add_token(connection, "shop", token, None, datetime.now(UTC))
    embedder = Counting()
    gateway = gateway_on(engine, embedder=embedder)
    async with client_of(gateway, token) as client:
        answer = await client.get("/api/v1/admin/status_check")
        assert answer.status_code == 405
        assert answer.json().keys() == {"detail"}
    assert embedder.calls == 0
    async with client_of(gateway) as client:
        assert (await client.get("/api/v1/admin/status_check")).json()["errno"] == 0
    assert embedder.calls == 1


class Well:
    async def problems(self) -> tuple[str, ...]:
        return ()


class Counting:
    calls = 0

    async def embed(self, texts: list[str], **_: object) -> None:
        self.calls += 1
