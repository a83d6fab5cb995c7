"""Whether the gateway works: for Memobase's clients, for an orchestrator, and for whoever administers it."""

from api.envelope import Envelope, JsonResponse, ok
from api.routing import new_router

router = new_router("health")


@router.get("/healthcheck", response_model=Envelope[None], summary="Whether the gateway works")
async def healthcheck() -> JsonResponse:
    """Needs no token."""
    return ok()
