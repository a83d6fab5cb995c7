"""What surrounds every route: ids, access, sizes, spellings of paths, errors and the log."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, cast

import httpx
import pytest
from fastapi import Query
from pydantic import BaseModel
from structlog.testing import capture_logs

from api import application
from api.access import Access
from api.application import create_app
from api.contract import MEMOBASE_ROUTES, is_of_memobase, template_of
from api.envelope import JsonResponse, ok
from api.errors import ApiError
from api.gateway import Gateway
from api.inputs import Flag, Text, UserId
from api.routing import new_router
from schemas.errors import Conflict, InvalidRecord, MemostreamError, NotFound, RetryLater
from schemas.settings import Settings
from tests.support.recording_metrics import RecordingMetrics

TOKEN = "root"
SAID = "I moved to Oslo"
MAX_BODY_BYTES = 4096

router = new_router("tests")
raised: dict[str, Exception] = {}
began = asyncio.Event()


class Body(BaseModel):
    text: str
    more: dict[str, Any] = {}


@router.get("/users/{user_id}")
async def of_memobase(user_id: UserId, wait_process: Flag = False) -> JsonResponse:
    _raise()
    return ok({"user_id": user_id, "wait_process": wait_process})


@router.get("/ours/{user_id}")
async def ours(user_id: UserId, words: Annotated[list[Text], Query(default_factory=list)]) -> JsonResponse:
    _raise()
    return ok({"user_id": user_id, "words": words})


@router.post("/ours")
async def take(body: Body) -> JsonResponse:
    return ok(body)


@router.get("/project/billing")
async def for_ever() -> JsonResponse:
    began.set()
    await asyncio.Event().wait()
    return ok()


def _raise() -> None:
    if raised:
        raise raised["error"]


class Door:
    async def authenticate(self, authorization: str | None, wanted_project: str | None) -> Access:
        if raised and "at_door" in raised:
            raise raised["at_door"]
        if authorization != f"Bearer {TOKEN}":
            raise ApiError(401, "the token is not known")
        return Access(wanted_project or "default", is_root=True)


class Parts:
    settings = Settings.model_validate(
        {"api": {"max_body_bytes": MAX_BODY_BYTES, "cors_origins": ["https://app.example"]}}
    )
    gatekeeper = Door()

    def __init__(self) -> None:
        self.metrics = RecordingMetrics()


@pytest.fixture(autouse=True)
def nothing_raised() -> None:
    raised.clear()


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch, parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(application, "ROUTERS", (router,))
    transport = httpx.ASGITransport(app=create_app(cast(Gateway, parts)))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        yield client


async def test_every_answer_names_its_request_and_its_time(client: httpx.AsyncClient) -> None:
    for path in ("/api/v1/users/ann", "/api/v1/nowhere", "/nowhere"):
        answer = await client.get(path)
        assert len(answer.headers["x-request-id"]) == 16
        assert float(answer.headers["x-process-time"]) >= 0


async def test_the_id_of_a_request_is_kept_unless_it_could_forge_a_line_of_the_log(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/users/ann", headers={"X-Request-ID": "order-4711"})
    assert answer.headers["x-request-id"] == "order-4711"
    for forged in ("a b", "x" * 129, "", '"}'):
        answer = await client.get("/api/v1/users/ann", headers={"X-Request-ID": forged})
        assert answer.headers["x-request-id"] != forged


@pytest.mark.parametrize(
    ("segment", "user_id"),
    [
        ("ann", "ann"),
        ("a%2Fb", "a/b"),
        ("a%2fb%20c", "a/b c"),
        ("%E5%B0%8F%E6%98%8E", "小明"),
        ("%252F", "%2F"),
        ("a+b", "a+b"),
        ("%61nn", "ann"),
        ("%2E%2E", ".."),
        ("a:b@c;d=e,f", "a:b@c;d=e,f"),
    ],
)
async def test_an_id_in_a_path_may_be_any_text_in_any_spelling(
    client: httpx.AsyncClient, segment: str, user_id: str
) -> None:
    url = httpx.URL("http://gateway", raw_path=f"/api/v1/users/{segment}".encode())
    answer = await client.get(url)
    assert answer.json() == {"data": {"user_id": user_id, "wait_process": False}, "errno": 0, "errmsg": ""}


@pytest.mark.parametrize("segment", ["%FF", "%00", "%ED%A0%80", "x" * 256, "%E5%B0%8F" * 86])
async def test_an_id_that_nothing_could_hold_is_refused_without_being_quoted(
    client: httpx.AsyncClient, segment: str
) -> None:
    answer = await client.get(httpx.URL("http://gateway", raw_path=f"/api/v1/users/{segment}".encode()))
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["path", "user_id"]
    assert problem.keys() == {"type", "loc", "msg"}


@pytest.mark.parametrize(("text", "value"), [("True", True), ("true", True), ("False", False), ("FALSE", False)])
async def test_flags_come_as_clients_of_python_write_them(client: httpx.AsyncClient, text: str, value: bool) -> None:
    answer = await client.get(f"/api/v1/users/ann?wait_process={text}")
    assert answer.json()["data"]["wait_process"] is value


async def test_doubled_ampersands_are_one(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/ours/ann?&words=a&&words=b&")
    assert answer.json()["data"]["words"] == ["a", "b"]


async def test_a_nul_in_a_query_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/ours/ann?words=a%00b")).status_code == 422


@pytest.mark.parametrize(
    "content",
    [b'{"text": "a", "more": {"x": NaN}}', b'{"text": "a", "more": {"x": "\\ud800"}}', b'{"text": "\xff"}', b"{", b""],
)
async def test_a_body_that_is_no_json_by_the_standard_is_refused_without_being_quoted(
    client: httpx.AsyncClient, content: bytes
) -> None:
    answer = await client.post("/api/v1/ours", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert all(problem.keys() == {"type", "loc", "msg"} for problem in answer.json()["detail"])


async def test_a_body_without_the_type_of_json_is_refused_by_saying_so(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/ours", content=b'{"text": "a"}')
    assert answer.status_code == 422
    assert "Content-Type" in answer.json()["detail"][0]["msg"]


async def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(client: httpx.AsyncClient) -> None:
    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES):
            yield b"xx"

    for content in (b"x" * (MAX_BODY_BYTES + 1), in_pieces()):
        answer = await client.post("/api/v1/ours", content=content)
        assert (answer.status_code, answer.json()["errno"]) == (413, 413)
    body = b'{"text": "' + b"x" * (MAX_BODY_BYTES - 12) + b'"}'
    answer = await client.post("/api/v1/ours", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("error", "errno"),
    [
        (ApiError(404, "there is no such user"), 404),
        (NotFound("there is no such thing"), 404),
        (InvalidRecord("invalid-blob", "blob_data.messages: must be a list"), 400),
        (Conflict(SAID), 409),
        (RetryLater(SAID, delay_s=2.5), 503),
        (MemostreamError(SAID), 500),
        (ValueError(SAID), 500),
    ],
)
async def test_an_error_has_its_number_on_both_kinds_of_routes_and_quotes_nothing(
    client: httpx.AsyncClient, error: Exception, errno: int
) -> None:
    raised["error"] = error
    with capture_logs() as logged:
        for path, status in (("/api/v1/users/ann", 200), ("/api/v1/ours/ann", errno)):
            answer = await client.get(path)
            assert answer.status_code == status
            body = answer.json()
            assert body["data"] is None
            assert body["errno"] == errno
            assert body["errmsg"]
            assert SAID not in body["errmsg"]
            assert ("retry-after" in answer.headers) == (errno == 503)
            if errno == 500:
                assert answer.headers["x-request-id"] in body["errmsg"]
    # Whoever looks for the id finds what happened.
    assert [event["event"] for event in logged].count("request.failed") == (2 if errno == 500 else 0)


async def test_when_to_try_again_is_said_in_whole_seconds(client: httpx.AsyncClient) -> None:
    for delay_s, header in ((0.0, "1"), (2.5, "3")):
        raised["error"] = RetryLater("away", delay_s=delay_s)
        assert (await client.get("/api/v1/users/ann")).headers["retry-after"] == header


async def test_who_is_cut_off_by_a_stop_is_told_to_come_back(client: httpx.AsyncClient) -> None:
    began.clear()
    asking = asyncio.create_task(client.get("/api/v1/project/billing"))
    await began.wait()
    # As the server does when its time for stopping is over.
    asking.cancel()
    answer = await asking
    assert (answer.status_code, answer.json()["errno"]) == (200, 503)
    assert "retry-after" in answer.headers


async def test_nobody_is_let_in_without_the_token_but_to_what_is_open(client: httpx.AsyncClient) -> None:
    client.headers["Authorization"] = "Bearer another"
    for path in ("/api/v1/users/ann", "/api/v1/nowhere", "/api", "/api/v1/healthchec", "/%61pi/v1/users/ann"):
        answer = await client.get(path)
        assert answer.status_code == 401
        assert answer.json() == {"data": None, "errno": 401, "errmsg": "the token is not known"}
    assert (await client.get("/openapi.json")).status_code == 200


async def test_what_happens_at_the_door_is_answered_as_on_the_route(client: httpx.AsyncClient) -> None:
    raised["at_door"] = RetryLater("Postgres is away")
    assert (await client.get("/api/v1/users/ann")).status_code == 200
    assert (await client.get("/api/v1/ours/ann")).status_code == 503


async def test_unknown_routes_and_methods_are_answered_as_memobases_server_answers_them(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/api/v1/nowhere")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    answer = await client.patch("/api/v1/ours")
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})


async def test_the_log_has_a_line_of_every_request_and_nothing_that_was_said(client: httpx.AsyncClient) -> None:
    with capture_logs() as logged:
        await client.get(f"/api/v1/users/{SAID}", headers={"X-Request-ID": "first", "X-Memostream-Project": "shop"})
        await client.get(f"/api/v1/users/{'x' * 300}?chats_str={SAID}")
        raised["error"] = RetryLater("Postgres, reading: ConnectionRefusedError")
        await client.get("/api/v1/users/ann")
        raised["error"] = ValueError(SAID)
        await client.get("/api/v1/users/ann")
    assert [(event["event"], event["log_level"]) for event in logged] == [
        ("request.answered", "debug"),
        ("request.refused", "info"),
        ("request.unserved", "warning"),
        ("request.failed", "error"),
        ("request.unserved", "warning"),
    ]
    assert logged[0]["route"] == "/api/v1/users/{user_id}"
    assert (logged[0]["request_id"], logged[0]["project_id"]) == ("first", "shop")
    assert [event.get("errno") for event in logged] == [None, 422, 503, None, 500]
    assert logged[2]["reason"] == "Postgres, reading: ConnectionRefusedError"
    # What the log shows of an exception is for its processor to decide.
    assert logged[3].pop("exc_info") is raised["error"]
    assert "Oslo" not in str(logged)


async def test_requests_are_counted_by_route_and_number_and_never_by_what_was_asked_for(
    client: httpx.AsyncClient, parts: Parts
) -> None:
    await client.get("/api/v1/users/ann")
    raised["error"] = NotFound("there is no such user")
    await client.get("/api/v1/users/bea")
    await client.get("/api/v1/nothing/like/that")
    await client.request("CHLOE", "/api/v1/users/ann")
    counted = {key: count for key, count in parts.metrics.counted.items() if key[0].endswith("requests_total")}
    route = "/api/v1/users/{user_id}"
    assert counted == {
        ("memostream_http_requests_total", ("GET", route, "200")): 1,
        ("memostream_http_requests_total", ("GET", route, "404")): 1,
        ("memostream_http_requests_total", ("GET", "other", "404")): 1,
        ("memostream_http_requests_total", ("other", route, "405")): 1,
    }
    assert len(parts.metrics.observed["memostream_http_request_duration_seconds", ("GET", route)]) == 2
    assert parts.metrics.counted["memostream_http_requests_in_flight", ()] == 0


async def test_a_page_of_an_allowed_origin_may_call(client: httpx.AsyncClient) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    answer = await client.options("/api/v1/users/ann", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    other = await client.options("/api/v1/users/ann", headers=asked | {"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in other.headers


def test_memobases_routes_are_told_from_ours_by_their_paths() -> None:
    assert len(MEMOBASE_ROUTES) == 30
    scope = {"method": "GET", "path": "/api/v1/users/event/search/a%2Fb"}
    assert is_of_memobase(scope)
    assert template_of(scope) == "/api/v1/users/event/search/{user_id}"
    for path in ("/api/v1/users/search/ann", "/api/v1/changes", "/livez", "/api/v1/blobs/ann/b1/state"):
        assert not is_of_memobase({"method": "GET", "path": path})
