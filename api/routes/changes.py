"""The change topics over HTTP, for consumers without Kafka."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import Header, Query, Request

from api.changes import Doorkeeper, framed
from api.errors import ApiError
from api.event_stream import EventStream
from api.inputs import Flag
from api.routing import new_router
from api.scope import ScopeDep
from schemas.change_feed import (
    LATEST,
    USUAL_TOPICS,
    ChangeFilter,
    ChangeTopic,
    InvalidCursor,
    PositionGone,
    TooManyReaders,
)
from schemas.records import Identifier

MAX_USERS: Final = 100
MAX_LIMIT: Final = 1_000_000
_EXAMPLE: Final = """retry: 2000
id: v1-4.0-1.0-4.0

event: profile-updated
id: v1-5.0-1.0-4.0
data: {"specversion":"1.0","id":"2c9a…","type":"memostream.profile.updated.v1","subject":"chloe","data":{"op":"c",…}}

"""
_EVENT: Final = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer", "minimum": 0},
    },
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events `profile-updated`, `event-updated`, `profiles`: CloudEvents in JSON, with the change "
        "as on its topic under `data`. An event without data only moves the id on. The last one is `end`, with a "
        "reason.",
        "content": {"text/event-stream": {"itemSchema": _EVENT, "example": _EXAMPLE}},
    },
    410: {"description": "What follows the id is not kept any more: read the profiles anew, then go on from `latest`."},
    429: {"description": "As many streams are open as this project, or the gateway, may have."},
}

router = new_router("changes")


@router.get(
    "/changes",
    status_code=200,
    response_class=EventStream,
    responses=_ANSWERS,
    summary="Follow the changes of memory",
)
async def follow_changes(
    request: Request,
    scope: ScopeDep,
    user_id: Annotated[
        list[Identifier],
        Query(default_factory=list, max_length=MAX_USERS, description="Changes of these users only; may be repeated."),
    ],
    topic: Annotated[
        list[ChangeTopic],
        Query(
            default_factory=list,
            description="Of these topics only; may be repeated. Left out: `profile-updated` and `event-updated`.",
        ),
    ],
    after: Annotated[
        str,
        Query(
            max_length=1 << 15,
            description="Where to begin: the id of an event, `earliest` for all that is kept, `latest` for what comes "
            "from now on. The header Last-Event-ID is stronger.",
        ),
    ] = LATEST,
    limit: Annotated[int | None, Query(ge=1, le=MAX_LIMIT, description="End after so many changes.")] = None,
    follow: Annotated[Flag, Query(description="`false` ends the stream when it has come up to now.")] = True,
    last_event_id: Annotated[
        str | None, Header(max_length=1 << 15, description="The id of the last event that was read.")
    ] = None,
) -> EventStream:
    """Server-sent events. A stream that begins at an id goes on exactly behind it, at any gateway.

    A user's changes come in order for each topic, at least once; the `id` in the CloudEvent stays the same. A tombstone
    of `profiles`, an event without `data` in its CloudEvent, says that the user was forgotten.
    """
    wanted = ChangeFilter(scope.project_id, frozenset(user_id), frozenset(topic) or USUAL_TOPICS)
    doorkeeper = Doorkeeper(scope.gateway.gatekeeper, request.headers)

    @asynccontextmanager
    async def frames() -> AsyncIterator[AsyncGenerator[bytes, None]]:
        subscription = scope.gateway.changes.subscribe(wanted, last_event_id or after, follow=follow)
        try:
            async with (
                subscription as items,
                aclosing(doorkeeper.watched(items)) as watched,
                aclosing(framed(watched, limit)) as sent,
            ):
                yield sent
        except InvalidCursor as error:
            raise ApiError(400, f"Last-Event-ID or after: {error}") from error
        except PositionGone as error:
            raise ApiError(410, f"Last-Event-ID or after: {error}") from error
        except TooManyReaders as error:
            raise ApiError(429, str(error)) from error

    return EventStream(frames)
