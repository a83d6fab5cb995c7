"""What the gateway counts of a request."""

from typing import Final

from starlette.types import Scope

from api.contract import template_of
from schemas.metrics import Metrics

# Whoever asks chooses method and path, so only those that we serve are told apart.
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER: Final = "other"
# It lasts as long as its reader likes.
CHANGE_STREAM: Final = "/api/v1/changes"


def errno_of(scope: Scope, status: int) -> int:
    """What went wrong: the status, or the number in the body of an answer in Memobase's form; 0 if nothing did."""
    told: int = scope.get("memostream.errno", 0)
    return max(told, status if status >= 400 else 0)


def count_answer(metrics: Metrics, scope: Scope, status: int, duration_s: float) -> None:
    """Once a request, at the end of its answer; `status` is 0 where nobody was left to be answered."""
    method = scope["method"] if scope["method"] in METHODS else OTHER
    route = template_of(scope) or OTHER
    answered = errno_of(scope, status) or status
    metrics.add("memostream_http_requests_total", method=method, route=route, status=str(answered))
    if route != CHANGE_STREAM:
        metrics.observe("memostream_http_request_duration_seconds", duration_s, method=method, route=route)
