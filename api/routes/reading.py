"""Reading a user's memory: the profile, and a context for a prompt."""

from typing import Annotated, Any, Final

from starlette.responses import PlainTextResponse, Response

from api.envelope import Envelope, JsonResponse, ok
from api.errors import ApiError
from api.inputs import UserId
from api.lines import gist_line
from api.models.reading import (
    CONTEXT_EXAMPLE,
    ChosenProfileQuery,
    ContextAnswer,
    ContextQuery,
    ProfileAnswer,
    profile_item,
)
from api.packing import compose
from api.query_models import described, in_query
from api.reading import Context, chosen_profile, packed_context
from api.routing import new_router
from api.scope import ScopeDep
from schemas.tokens import ENCODING_NAME, estimate_tokens
from storage.recall import RecentGist

router = new_router("reading")

_TEXT_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The context; as plain text with `format=text`.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": CONTEXT_EXAMPLE}},
    }
}


@router.get(
    "/users/profile/{user_id}",
    response_model=Envelope[ProfileAnswer],
    openapi_extra=described(ChosenProfileQuery),
    summary="A user's profile",
)
async def get_profile(
    scope: ScopeDep, user_id: UserId, query: Annotated[ChosenProfileQuery, in_query(ChosenProfileQuery)]
) -> JsonResponse:
    """The entries that are asked for, the latest first.

    With `max_token_size` the walk ends at the first entry that overflows; the answer is never longer. `as_of` answers
    the profile as it was. Nothing is asked of a model unless `chats_str` is given.
    """
    entries = await chosen_profile(scope, user_id, query)
    return ok({"profiles": [profile_item(entry) for entry in entries]})


@router.get(
    "/users/context/{user_id}",
    response_model=Envelope[ContextAnswer],
    responses=_TEXT_ANSWER,
    openapi_extra=described(ContextQuery),
    summary="What is remembered of a user, as a text for a prompt",
)
async def get_context(
    scope: ScopeDep, user_id: UserId, query: Annotated[ContextQuery, in_query(ContextQuery)]
) -> Response:
    """Profile and events, as many as fit into `max_token_size`; they never exceed it.

    Without `chats_str` no model is asked for anything: the profile's latest entries and the latest events. With it,
    events are searched for by meaning, which takes one call for an embedding.
    """
    if query.format == "text" and query.token_report:
        raise ApiError(400, "token_report: an answer in plain text has no place for it")
    found = await packed_context(scope, user_id, query)
    packed = found.packed
    context = compose(packed, found.language, query.customize_context_prompt)
    if query.format == "text":
        return PlainTextResponse(context)
    answer: dict[str, Any] = {"context": context}
    if query.format == "json":
        answer["profiles"] = [profile_item(entry) for entry in packed.entries]
        answer["events"] = [_event(gist) for gist in packed.gists]
    if query.token_report:
        answer["tokens"] = _report(scope, query, found)
    return ok(answer)


def _event(gist: RecentGist) -> dict[str, Any]:
    return {
        "id": str(gist.gist_id),
        "event_id": str(gist.event_id),
        "content": gist_line(gist.text, gist.occurred_at).removeprefix("- "),
        "occurred_at": gist.occurred_at,
        "created_at": gist.recorded_at,
    }


def _report(scope: ScopeDep, query: ContextQuery, found: Context) -> dict[str, Any]:
    packed = found.packed
    return {
        "max_tokens": query.max_token_size,
        "profile_tokens": packed.profile_tokens,
        "event_tokens": packed.event_tokens,
        "profiles_packed": len(packed.entries),
        "profiles_left_out": found.entries - len(packed.entries),
        "events_packed": len(packed.gists),
        "events_left_out": found.gists - len(packed.gists),
        "events_by": "similarity" if found.is_searched else "time",
        "counted_by": "estimate" if scope.gateway.count_tokens is estimate_tokens else ENCODING_NAME,
    }
