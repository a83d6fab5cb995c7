"""The gateway as an ASGI application: its routes, and what is done to every request."""

from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware

from api.envelope import JsonResponse
from api.errors import answer_error
from api.gateway import Gateway
from api.middleware import BodyLimit, Gate, RequestFrame
from api.routes import blobs, buffers, changes, events, health, profile_edits, projects, reading, search, users
from schemas.errors import MemostreamError

VERSION: Final = "0.1.0"
# One line a module of api/routes.
ROUTERS: Final = (
    health.probes,
    health.router,
    projects.router,
    reading.router,
    search.router,
    users.router,
    profile_edits.router,
    events.router,
    blobs.router,
    buffers.router,
    changes.router,
)


def create_app(gateway: Gateway) -> FastAPI:
    """Opens no connection."""
    app = FastAPI(title="memostream", version=VERSION, redirect_slashes=False)
    app.state.gateway = gateway
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(MemostreamError, answer_error)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    # The one that is added last is the first to see a request.
    app.add_middleware(BodyLimit, max_bytes=gateway.settings.api.max_body_bytes)
    app.add_middleware(Gate, gatekeeper=gateway.gatekeeper)
    app.add_middleware(RequestFrame)
    if gateway.settings.api.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=gateway.settings.api.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "X-Process-Time", "Retry-After"],
        )
    return app


async def answer_invalid(_: Request, error: Exception) -> JsonResponse:
    """Status 422 in FastAPI's form, which Memobase's clients know, without what was sent."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    return JsonResponse({"detail": [{key: item[key] for key in ("type", "loc", "msg")} for item in problems]}, 422)
