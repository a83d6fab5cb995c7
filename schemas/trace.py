"""W3C trace context, passed on as it came: which values are valid, and how they travel."""

import re
from typing import Final, NamedTuple

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
# The format asks to pass on 512 characters at least; longer ones would be repeated in every window.
MAX_TRACESTATE_CHARACTERS: Final = 512
# A later version may append fields, which are passed on unread.
MAX_TRACEPARENT_CHARACTERS: Final = 256
MAX_TRACESTATE_MEMBERS: Final = 32

_TRACEPARENT: Final = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<later>-[!-~]*)?"
)
_TRACESTATE_MEMBER: Final = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")


class Trace(NamedTuple):
    """Where in a trace a record stands; false if it stands in none. `tracestate` is set only beside a `traceparent`."""

    traceparent: str | None = None
    tracestate: str | None = None

    def __bool__(self) -> bool:
        return self.traceparent is not None

    def named(self) -> dict[str, str]:
        """What there is of it, by the names of W3C's headers."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """The Kafka headers that pass it on; none if there is no trace."""
        return tuple((name, value.encode()) for name, value in self.named().items())


NO_TRACE: Final = Trace()


def valid_trace(traceparent: object, tracestate: object) -> Trace:
    """The values as they are, less what is invalid: a record is worth keeping without its trace.

    A `tracestate` without a valid `traceparent` says nothing and is dropped with it.
    """
    if not isinstance(traceparent, str) or not _is_traceparent(traceparent):
        return NO_TRACE
    state = tracestate if isinstance(tracestate, str) and _is_tracestate(tracestate) else None
    return Trace(traceparent, state)


def _is_traceparent(value: str) -> bool:
    found = _TRACEPARENT.fullmatch(value) if len(value) <= MAX_TRACEPARENT_CHARACTERS else None
    return found is not None and (found["later"] is None or found["version"] != "00")


def _is_tracestate(value: str) -> bool:
    if len(value) > MAX_TRACESTATE_CHARACTERS:
        return False
    members = [member for part in value.split(",") if (member := part.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    return (
        0 < len(members) <= MAX_TRACESTATE_MEMBERS
        and len(keys) == len(members)
        and all(_TRACESTATE_MEMBER.fullmatch(member) for member in members)
    )
