"""The gateway as an ASGI application: its routes, and what is done to every request."""

from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware

from api.document import document_of
from api.envelope import JsonResponse
from api.errors import answer_error
from api.gateway import Gateway
from api.middleware import BodyLimit, Gate, RequestFrame
from api.routes import (
    blobs,
    buffers,
    changes,
    events,
    health,
    profile_edits,
    projects,
    reading,
    roleplay,
    search,
    users,
)
from schemas.errors import MemostreamError

# One line a module of api/routes.
ROUTERS: Final = (
    # Routes are tried in their order, and these are asked for most.
    reading.router,
    search.router,
    health.probes,
    health.router,
    projects.router,
    users.router,
    profile_edits.router,
    events.router,
    blobs.router,
    buffers.router,
    roleplay.router,
    changes.router,
)


class DescribedApp(FastAPI):
    """Serves a document that names access and errors, too."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = document_of(self)
        return self.openapi_schema


def described_app() -> FastAPI:
    """The routes alone, which answer nothing yet."""
    app = DescribedApp(
        title="memostream",
        version=version("memostream"),
        redirect_slashes=False,
        # Short names for those who generate clients.
        generate_unique_id_function=lambda route: route.name,
    )
    for router in ROUTERS:
        app.include_router(router)
    return app


def create_app(gateway: Gateway) -> FastAPI:
    """Opens no connection."""
    app = described_app()
    app.state.gateway = gateway
    app.add_exception_handler(MemostreamError, answer_error)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    # The one that is added last is the first to see a request.
    app.add_middleware(BodyLimit, max_bytes=gateway.settings.api.max_body_bytes)
    app.add_middleware(Gate, gatekeeper=gateway.gatekeeper)
    app.add_middleware(RequestFrame, metrics=gateway.metrics)
    if gateway.settings.api.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=gateway.settings.api.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "X-Process-Time", "Retry-After"],
        )
    return app


async def answer_invalid(request: Request, error: Exception) -> JsonResponse:
    """Status 422 in FastAPI's form, which Memobase's clients know, without what was sent."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    told = [{key: item[key] for key in ("type", "loc", "msg")} for item in problems]
    is_json = "json" in request.headers.get("content-type", "")
    for problem in told:
        if problem["loc"] == ("body",) and problem["type"] != "missing" and not is_json:
            # What is said of its type else helps nobody.
            problem["msg"] = "must be JSON, with the header Content-Type: application/json"
    return JsonResponse({"detail": told}, 422)
