"""The path of a request as routes see it: still percent-encoded, so that an id may hold a slash."""

from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope

# What an encoder may leave as it is in a segment (RFC 3986); so that every spelling of a path is routed alike.
_PLAIN: Final = "-._~!$&'()*+,;=:@"


def routed_path(scope: Scope) -> str:
    """The path in one spelling, of ASCII, each segment percent-encoded where it must be."""
    raw: bytes | None = scope.get("raw_path")
    path: str = scope["path"] if raw is None else raw.decode("latin-1")
    if raw is None or ("%" not in path and path.isascii()):
        return path
    return "/".join(quote(unquote_to_bytes(segment), safe=_PLAIN) for segment in path.split("/"))


def decoded(segment: Any) -> Any:
    """What a segment of the routed path says; raises ValueError where that is no UTF-8."""
    if not isinstance(segment, str) or "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise ValueError("must be UTF-8, percent-encoded") from None
