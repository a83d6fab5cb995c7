"""What a caller is told when something goes wrong, and with which status."""

import math
from typing import Final

import structlog
from starlette.requests import Request
from starlette.types import Scope

from api.contract import is_of_memobase, template_of
from api.envelope import JsonResponse, error_body
from schemas.errors import Conflict, InvalidRecord, MemostreamError, NotFound, RetryLater

DEFAULT_RETRY_S: Final = 1

log = structlog.get_logger()


class ApiError(MemostreamError):
    """An answer with this number. The text names what to change and quotes nothing of the request or the memory."""

    def __init__(self, errno: int, errmsg: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(errmsg)
        self.errno = errno
        self.errmsg = errmsg
        self.retry_after_s = retry_after_s


def translated_error(error: Exception, request_id: str) -> ApiError:
    """By what the caller can do: change the request (400, 404, 409), try again (503), or report it (500)."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RetryLater):
        # Its text may name hosts.
        return ApiError(503, "not available at the moment, try again", retry_after_s=error.delay_s)
    if isinstance(error, InvalidRecord):
        return ApiError(400, str(error))
    if isinstance(error, NotFound):
        return ApiError(404, str(error))
    if isinstance(error, Conflict):
        return ApiError(409, "somebody else is changing the same, try again")
    return internal_error(request_id)


def internal_error(request_id: str) -> ApiError:
    return ApiError(500, f"internal error; the log has more under request id {request_id}")


def error_response(error: ApiError, scope: Scope) -> JsonResponse:
    """On Memobase's routes HTTP 200 with the number in the body, as its clients expect; on ours the number, too."""
    headers = {}
    if error.errno == 503:
        headers["Retry-After"] = str(max(DEFAULT_RETRY_S, math.ceil(error.retry_after_s or 0)))
    status = 200 if error.errno != 401 and is_of_memobase(scope) else error.errno
    return JsonResponse(error_body(error.errno, error.errmsg), status, headers)


def answer_to(error: Exception, scope: Scope) -> JsonResponse:
    """The answer, whatever was raised; leaves number and reason in the scope for the line in the log."""
    request_id: str = scope["memostream.request_id"]
    is_known = isinstance(error, MemostreamError)
    told = translated_error(error, request_id) if is_known else internal_error(request_id)
    if told.errno == 500:
        log.error("request.failed", request_id=request_id, route=template_of(scope), exc_info=error)
    scope["memostream.errno"] = told.errno
    # Of our own errors the text says what is away, and quotes nothing.
    scope["memostream.reason"] = str(error) if is_known else None
    return error_response(told, scope)


async def answer_error(request: Request, error: Exception) -> JsonResponse:
    """The handler of MemostreamError and its children."""
    return answer_to(error, request.scope)
