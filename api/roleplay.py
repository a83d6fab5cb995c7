"""One move of role-play: look whether the user still cares, else invent a topic from what is remembered."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Final, Literal, TypeVar

import structlog

from api.errors import ApiError
from api.lines import profile_line
from api.models.reading import ProfileQuery
from api.profile_filter import choose
from api.reading import read_as_of, spoken_language
from api.reading_inputs import filter_of
from api.scope import Scope
from extraction.reading import Said
from schemas.errors import ContentRejected, ContextTooLong, RetryLater
from schemas.memory import Usage
from storage.user_statuses import add_status, read_proposed_topics

# For both questions together; Memobase's clients give up after 60 s.
MODEL_TIMEOUT_S: Final = 50.0
# Earlier topics that a new one must differ from.
MAX_EARLIER: Final = 5

Answer = TypeVar("Answer")

log = structlog.get_logger()


async def next_move(
    scope: Scope, user_id: str, query: ProfileQuery, talk: Sequence[Said], character: str
) -> tuple[Literal["new_topic", "continue"], str | None]:
    """What the character should do, and its instruction for something new.

    Raises ApiError where no chat model is configured or the parameters are wrong, and RetryLater where the model is
    away, too slow, or answers what cannot be understood.
    """
    reader = scope.gateway.reader
    if reader is None:
        raise ApiError(501, "no chat model is configured (extraction.provider is offline)")
    wanted = replace(filter_of(query), top_k=query.topk, max_tokens=query.max_token_size)
    if not talk:
        return "continue", None
    language = await spoken_language(scope, [said.content for said in talk])
    deadline = asyncio.get_running_loop().time() + MODEL_TIMEOUT_S
    interest = await _asked(scope, "interest", reader.interest(talk, language), deadline)
    if interest.action == "continue":
        await _keep(scope, user_id, {"status": interest.status})
        return "continue", None
    async with scope.connection() as connection:
        entries = await read_as_of(connection, scope, user_id, query)
        earlier = await read_proposed_topics(connection, scope.project_id, user_id, MAX_EARLIER)
    lines = [
        profile_line(entry.topic, entry.sub_topic, entry.content)
        for entry in choose(entries, wanted, scope.gateway.count_tokens)
    ]
    topic = await _asked(scope, "topic", reader.topic(lines, character, earlier, talk, language), deadline)
    new_topic = {"theme": topic.theme, "overview": topic.overview, "steps": list(topic.steps)}
    await _keep(scope, user_id, {"status": interest.status, "new_topic": new_topic})
    return "new_topic", topic.instruction(language)


async def _asked(scope: Scope, question: str, call: Awaitable[tuple[Answer, Usage]], deadline: float) -> Answer:
    try:
        async with asyncio.timeout_at(deadline):
            answer, usage = await call
    except (ContentRejected, ContextTooLong, TimeoutError) as error:
        log.warning("roleplay.not_answered", project_id=scope.project_id, question=question, error=type(error).__name__)
        raise RetryLater("the chat model gave no answer that can be used") from None
    log.info("roleplay.asked", project_id=scope.project_id, question=question, tokens=usage.tokens)
    return answer


async def _keep(scope: Scope, user_id: str, attributes: dict[str, object]) -> None:
    async with scope.transaction() as connection:
        await add_status(connection, scope.project_id, user_id, attributes, scope.gateway.now())
