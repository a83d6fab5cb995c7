"""Role-play: whether a character should bring up something new, and what."""

from typing import Annotated

from api.envelope import Envelope, JsonResponse, ok
from api.inputs import UserId
from api.models.reading import ProactiveAnswer, ProactiveBody, ProfileQuery
from api.query_models import described, in_query
from api.roleplay import next_move
from api.routing import new_router
from api.scope import ScopeDep
from extraction.reading import Said

router = new_router("reading")


@router.post(
    "/users/roleplay/proactive/{user_id}",
    response_model=Envelope[ProactiveAnswer],
    openapi_extra=described(ProfileQuery),
    summary="What a character should talk about next",
)
async def propose_topic(
    scope: ScopeDep, user_id: UserId, query: Annotated[ProfileQuery, in_query(ProfileQuery)], body: ProactiveBody
) -> JsonResponse:
    """Two questions to the chat model at most: whether the user loses interest, then what to talk about instead.

    `topic_prompt` is an instruction to the character. The parameters choose the entries of the profile that it builds
    on. 501 where no chat model is configured, 503 where it is away or cannot be understood.
    """
    talk = [Said(line.role, line.content) for line in body.messages]
    action, prompt = await next_move(scope, user_id, query, talk, body.agent_context or "")
    return ok({"action": action, "topic_prompt": prompt})
