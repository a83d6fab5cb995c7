"""Whether the gateway works: for Memobase's clients, for an orchestrator, and for whoever administers it."""

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter
from fastapi.exceptions import HTTPException
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.envelope import Envelope, JsonResponse, ok
from api.gateway import GatewayDep
from api.routing import new_router
from api.scope import ScopeDep
from schemas.errors import MemostreamError

router = new_router("health")
probes = APIRouter(tags=["health"])

PROBE_TEXT: Final = "memostream"


class Detail(BaseModel):
    """An error outside the envelope, as Memobase's server has it."""

    detail: str


class Live(BaseModel):
    """Whether the process turns."""

    live: bool


class Ready(BaseModel):
    """Whether requests should be sent here, and what is the matter, by part."""

    ready: bool
    reasons: Mapping[str, Sequence[str]] = Field(examples=[{"broker": ["no broker answers (TimeoutError)"]}])


@router.get(
    "/healthcheck",
    response_model=Envelope[None],
    responses={500: {"model": Detail, "description": "It cannot read memory."}},
    summary="Ask whether the gateway works",
    openapi_extra={"security": []},
)
async def healthcheck(gateway: GatewayDep) -> JsonResponse:
    """Needs no token. Status 500 while the database does not answer, as Memobase's server has it."""
    if await gateway.watch_database():
        raise HTTPException(500, "Database not available")
    return ok()


@router.get(
    "/admin/status_check",
    response_model=Envelope[None],
    responses={
        405: {"model": Detail, "description": "The token is not the root token."},
        500: {"model": Detail, "description": "One of the models did not answer."},
    },
    summary="Ask the models for a word",
)
async def status_check(scope: ScopeDep) -> JsonResponse:
    """One call to the model that embeds, and one to the one that chats; they cost a handful of tokens.

    For the root token only.
    """
    if not scope.is_root:
        raise HTTPException(405, "only the root token may ask for this")
    gateway = scope.gateway
    try:
        if gateway.embedder is not None:
            await gateway.embedder.embed([PROBE_TEXT])
        if gateway.settings.extraction.provider != "offline":
            # Late, and beside the loop: a gateway that is never asked spares itself OpenAI's client.
            probing = await asyncio.to_thread(importlib.import_module, "extraction.endpoint.probing")
            await probing.probe_chat(gateway.settings.llm)
    except MemostreamError as error:
        raise HTTPException(500, f"a model does not answer: {error}") from error
    return ok()


@probes.get("/livez", response_model=Live, summary="Ask whether the process turns", openapi_extra={"security": []})
async def livez() -> JsonResponse:
    """For an orchestrator. Needs no token, and asks nobody."""
    return JsonResponse({"live": True})


@probes.get(
    "/readyz",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "No requests should be sent here."}},
    summary="Ask whether requests should be sent here",
    openapi_extra={"security": []},
)
async def readyz(gateway: GatewayDep) -> JsonResponse:
    """For an orchestrator. Needs no token.

    Not ready is a gateway that stops, or that Postgres does not answer: no memory can be read then. While broker or
    workers are away, memory can be read all the same: `reasons` names them, and the gateway stays ready.
    """
    reasons: dict[str, Any] = {
        "gateway": ["it is stopping"] if gateway.stopping.is_set() else [],
        "database": list(await gateway.watch_database()),
    }
    is_ready = not any(reasons.values())
    reasons["broker"] = list(await gateway.message_log.problems())
    reasons["workers"] = list(await gateway.buffers.problems())
    told = {part: wrong for part, wrong in reasons.items() if wrong}
    return JsonResponse({"ready": is_ready, "reasons": told}, 200 if is_ready else 503)


# Not of the API, so no client is generated for it.
@probes.get("/metrics", include_in_schema=False)
async def metrics(gateway: GatewayDep) -> Response:
    """In Prometheus' text format. Needs no token, and names neither users nor projects."""
    return Response(await gateway.metrics_page(), media_type="text/plain; version=0.0.4; charset=utf-8")
