"""The thirty routes of Memobase's server, whose business errors are HTTP 200 with the number in the body."""

import re
from typing import Final

from starlette.types import Scope

API_PREFIX: Final = "/api/v1"

MEMOBASE_ROUTES: Final = frozenset(
    (method, API_PREFIX + path)
    for method, path in (
        ("GET", "/healthcheck"),
        ("GET", "/admin/status_check"),
        ("GET", "/project/profile_config"),
        ("POST", "/project/profile_config"),
        ("GET", "/project/billing"),
        ("GET", "/project/users"),
        ("GET", "/project/usage"),
        ("POST", "/users"),
        ("GET", "/users/{user_id}"),
        ("PUT", "/users/{user_id}"),
        ("DELETE", "/users/{user_id}"),
        ("GET", "/users/blobs/{user_id}/{blob_type}"),
        ("POST", "/blobs/insert/{user_id}"),
        ("GET", "/blobs/{user_id}/{blob_id}"),
        ("DELETE", "/blobs/{user_id}/{blob_id}"),
        ("GET", "/users/profile/{user_id}"),
        ("POST", "/users/profile/{user_id}"),
        ("POST", "/users/profile/import/{user_id}"),
        ("PUT", "/users/profile/{user_id}/{profile_id}"),
        ("DELETE", "/users/profile/{user_id}/{profile_id}"),
        ("POST", "/users/buffer/{user_id}/{buffer_type}"),
        ("GET", "/users/buffer/capacity/{user_id}/{buffer_type}"),
        ("GET", "/users/event/{user_id}"),
        ("PUT", "/users/event/{user_id}/{event_id}"),
        ("DELETE", "/users/event/{user_id}/{event_id}"),
        ("GET", "/users/event/search/{user_id}"),
        ("GET", "/users/event_gist/search/{user_id}"),
        ("GET", "/users/event_tags/search/{user_id}"),
        ("GET", "/users/context/{user_id}"),
        ("POST", "/users/roleplay/proactive/{user_id}"),
    )
)


def template_of(scope: Scope) -> str:
    """The path of the route that takes the request, with names in place of values; empty where none is known to.

    A request may be refused before it finds its route; Memobase's are known by their paths then, too.
    """
    path: str = getattr(scope.get("route"), "path", "") or _memobase_template(scope)
    return path


def is_of_memobase(scope: Scope) -> bool:
    return bool(_memobase_template(scope))


def _memobase_template(scope: Scope) -> str:
    path = scope["path"]
    return next((known for known, pattern in _PATTERNS.get(scope["method"], ()) if pattern.fullmatch(path)), "")


_PATTERNS: Final = {
    method: tuple(
        (path, re.compile(re.sub(r"\{\w+\}", "[^/]+", path))) for of, path in sorted(MEMOBASE_ROUTES) if of == method
    )
    for method in ("GET", "POST", "PUT", "DELETE")
}
