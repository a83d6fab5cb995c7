"""Parameters of reading that hold JSON, and what a filter makes of them."""

from collections.abc import Iterable
from typing import Final

from pydantic import TypeAdapter, ValidationError

from api.errors import ApiError
from api.models.reading import ChatLine, TopicQuery
from api.profile_filter import ProfileFilter
from extraction.reading import Said
from schemas.profile_schema import unify_name

_LIMITS: Final = TypeAdapter(dict[str, int])
_CHATS: Final = TypeAdapter(list[ChatLine])


def filter_of(query: TopicQuery) -> ProfileFilter:
    """The filter, without its budget. Raises ApiError for what is no JSON of topics and numbers."""
    return ProfileFilter(
        prefer_topics=_topics(query.prefer_topics),
        only_topics=_topics(query.only_topics),
        max_sub_topics=query.max_subtopic_size,
        topic_limits=topic_limits(query.topic_limits_json),
    )


def topic_limits(text: str | None) -> dict[str, int]:
    """Entries by topic. Raises ApiError."""
    if not text:
        return {}
    try:
        return {_topic(name): limit for name, limit in _LIMITS.validate_json(text).items()}
    except ValidationError:
        raise ApiError(400, 'topic_limits_json: must be JSON of topics and numbers, as in {"interest": 3}') from None


def chats(text: str | None) -> list[Said]:
    """Messages in their order; empty without any. Raises ApiError."""
    if not text:
        return []
    try:
        return [Said(line.role, line.content) for line in _CHATS.validate_json(text)]
    except ValidationError:
        raise ApiError(
            400,
            'chats_str: must be a JSON list of messages, as in [{"role": "user", "content": "Hi"}], with & and # '
            "percent-encoded",
        ) from None


def _topics(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(_topic(name) for name in names if name.strip())


def _topic(name: str) -> str:
    """As profiles hold it, so that who named a topic in other letters finds it."""
    try:
        return unify_name(name)
    except ValueError:
        return name
