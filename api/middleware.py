"""What is done to every request: id, time, path, access, size of the body, and a line in the log."""

import asyncio
import re
import secrets
import time
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import PROJECT_HEADER, Authenticator
from api.contract import template_of
from api.errors import ApiError, answer_to
from api.request_metrics import count_answer, errno_of
from api.segments import routed_path
from schemas.errors import RetryLater
from schemas.metrics import NO_METRICS, Metrics

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")

log = structlog.get_logger()


class RequestFrame:
    """The outermost: whatever a route raises, its caller gets an answer, and the log a line without what was said."""

    def __init__(self, app: ASGIApp, metrics: Metrics = NO_METRICS) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        self._metrics.add("memostream_http_requests_in_flight", 1)
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope["memostream.request_id"] = request_id
        scope["path"] = routed_path(scope)
        status = 0

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Process-Time"] = f"{time.perf_counter() - began:.6f}"
                headers["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, framed)
        except asyncio.CancelledError:
            # The server stops, and waits no longer; it would call this a defect.
            if not status:
                await answer_to(RetryLater("the gateway stopped before the answer"), scope)(scope, receive, framed)
        except Exception as error:  # noqa: BLE001 - the edge: a caller is told, and the process goes on
            answer = answer_to(error, scope)
            # Half an answer cannot become another one; the server cuts the connection.
            if not status:
                await answer(scope, receive, framed)
        finally:
            duration_s = time.perf_counter() - began
            _log_answer(scope, request_id, status, duration_s)
            self._metrics.add("memostream_http_requests_in_flight", -1)
            count_answer(self._metrics, scope, status, duration_s)


class Gate:
    """Lets in what begins with /api only with a token; `scope["memostream.access"]` says what it opens."""

    def __init__(self, app: ASGIApp, gatekeeper: Authenticator) -> None:
        self._app = app
        self._gatekeeper = gatekeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_guarded(scope["path"]):
            headers = Headers(scope=scope)
            scope["memostream.access"] = await self._gatekeeper.authenticate(
                headers.get("authorization"), headers.get(PROJECT_HEADER)
            )
        await self._app(scope, receive, send)


class BodyLimit:
    """Reads a body before anybody looks at it, and refuses one that is larger than allowed."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        announced = headers.get("content-length", "")
        if not announced and "transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        if announced.isdigit() and int(announced) > self._max_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._max_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        body: bytes | None = b"".join(chunks)

        async def again() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            read, body = body, None
            return {"type": "http.request", "body": read, "more_body": False}

        await self._app(scope, again, send)

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the body is larger than api.max_body_bytes, {self._max_bytes} bytes")


def _is_guarded(path: str) -> bool:
    return path.startswith("/api") and not path.startswith("/api/v1/healthcheck")


def _log_answer(scope: Scope, request_id: str, status: int, duration_s: float) -> None:
    """A line without the path, the query and the body, which hold ids of users and what they said."""
    errno = errno_of(scope, status)
    method, route = scope["method"], template_of(scope)
    access = scope.get("memostream.access")
    project_id = None if access is None else access.project_id
    duration_ms = round(duration_s * 1000, 1)
    if errno == 0:
        log.debug(
            "request.answered",
            method=method,
            route=route,
            project_id=project_id,
            duration_ms=duration_ms,
            request_id=request_id,
        )
    elif errno < 500:
        log.info(
            "request.refused",
            errno=errno,
            reason=scope.get("memostream.reason"),
            method=method,
            route=route,
            project_id=project_id,
            duration_ms=duration_ms,
            request_id=request_id,
        )
    else:
        log.warning(
            "request.unserved",
            errno=errno,
            reason=scope.get("memostream.reason"),
            method=method,
            route=route,
            project_id=project_id,
            duration_ms=duration_ms,
            request_id=request_id,
        )
