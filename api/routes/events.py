"""Events, read, changed and removed by hand."""

from datetime import timedelta
from typing import Annotated, Final

from fastapi import Query

from api.envelope import Envelope, JsonResponse, ok
from api.errors import ApiError
from api.events import edit_of, event_answer, within_budget
from api.hand_edits import NO_EVENT, editing
from api.inputs import EventId, Flag, UserId
from api.models.events import EventBody, EventsAnswer
from api.routing import new_router
from api.scope import ScopeDep
from storage.browsing import read_events
from storage.editing_events import change_event, remove_event

MAX_EVENTS: Final = 1000
MAX_DAYS: Final = 36_500

router = new_router("events")


@router.get("/users/event/{user_id}", response_model=Envelope[EventsAnswer], summary="Read a user's latest events")
async def get_events(
    scope: ScopeDep,
    user_id: UserId,
    topk: Annotated[int, Query(ge=0, le=MAX_EVENTS, description="Events at most.")] = 10,
    max_token_size: Annotated[
        int | None, Query(ge=0, description="Tokens of all events together at most; no limit if left out.")
    ] = None,
    need_summary: Annotated[Flag, Query(description="Has no effect, as in Memobase.")] = False,  # noqa: ARG001
    time_range_in_days: Annotated[
        int | None, Query(ge=1, le=MAX_DAYS, description="Events of the last so many days; all if left out.")
    ] = None,
) -> JsonResponse:
    """The newest first, however old they are; a user who is not known has none."""
    since = None
    if time_range_in_days is not None:
        since = scope.gateway.now() - timedelta(days=time_range_in_days)
    async with scope.connection() as connection:
        found = await read_events(connection, scope.project_id, user_id, topk, since=since)
    chosen = within_budget(found, max_token_size, scope.gateway.count_tokens)
    return ok({"events": [event_answer(event) for event in chosen], "gists": []})


@router.put("/users/event/{user_id}/{event_id}", response_model=Envelope[None], summary="Change an event")
async def put_event(scope: ScopeDep, user_id: UserId, event_id: EventId, body: EventBody) -> JsonResponse:
    """What is named takes the place of what there is. Contexts and search by keyword have it at once, search by meaning
    as soon as it is embedded again.
    """
    async with editing(scope) as edits:
        is_there = await change_event(edits, scope.project_id, user_id, event_id, edit_of(body))
    if not is_there:
        raise ApiError(404, NO_EVENT)
    return ok()


@router.delete("/users/event/{user_id}/{event_id}", response_model=Envelope[None], summary="Remove an event")
async def delete_event(scope: ScopeDep, user_id: UserId, event_id: EventId) -> JsonResponse:
    """Its gists go with it; what the profile learned from it stays."""
    async with editing(scope) as edits:
        is_there = await remove_event(edits, scope.project_id, user_id, event_id)
    if not is_there:
        raise ApiError(404, NO_EVENT)
    return ok()
