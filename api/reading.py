"""Reading memory for a prompt: what is read for a request, and what a model is asked about it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from api.errors import ApiError
from api.lines import profile_line
from api.models.reading import ChosenProfileQuery, ContextQuery, TopicQuery
from api.packing import Budget, Language, Packed, pack
from api.profile_filter import arrange, choose
from api.question import embed_question
from api.reading_inputs import chats, filter_of
from api.scope import Scope
from extraction.prompting import language_of
from extraction.reading import Said
from schemas.errors import MemostreamError
from schemas.memory import Embedding
from storage.profile_as_of import read_entries_as_of
from storage.recall import Clock, Entry, RecentGist, read_entries, read_recent_gists, read_similar_gists

# Gists that a context chooses from, and messages whose words it searches for; as in Memobase.
MAX_GISTS: Final = 60
MESSAGES_SEARCHED: Final = 3
# No more than any embedding model takes; what was said last counts.
MAX_QUESTION_CHARACTERS: Final = 4_000
# Memobase's clients give up after 60 s, and the entries are there without a model, too.
PICK_TIMEOUT_S: Final = 20.0

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_END: Final = datetime.max.replace(tzinfo=UTC)

log = structlog.get_logger()


async def chosen_profile(scope: Scope, user_id: str, query: ChosenProfileQuery) -> list[Entry]:
    """The entries that a request asks for. Raises ApiError for parameters that are wrong."""
    topics, talk = filter_of(query), chats(query.chats_str)
    async with scope.connection() as connection:
        entries = await read_as_of(connection, scope, user_id, query)
    if talk:
        entries = await picked(scope, arrange(entries, topics), talk)
    wanted = replace(topics, top_k=query.topk, max_tokens=query.max_token_size)
    return choose(entries, wanted, scope.gateway.count_tokens)


@dataclass(frozen=True, slots=True)
class Context:
    """What goes into a context, in which language, and how many entries and gists there were to choose from.

    `is_searched`: the gists are those that are like the conversation, else the latest.
    """

    packed: Packed
    language: Language
    entries: int
    gists: int
    is_searched: bool


async def packed_context(scope: Scope, user_id: str, query: ContextQuery) -> Context:
    """Raises ApiError for parameters that are wrong, and RetryLater where the endpoint of embeddings is away."""
    if not 0 < query.profile_event_ratio <= 1:
        raise ApiError(400, "profile_event_ratio: must be above 0 and at most 1")
    wanted, talk = filter_of(query), chats(query.chats_str)
    budget = Budget(query.max_token_size, query.profile_event_ratio, query.fill_window_with_events)
    vector = await _searched_for(scope, talk)
    entries, gists = await _recall(scope, user_id, query, vector)
    found = arrange(entries, wanted)
    if talk and not query.full_profile_and_only_search_event and budget.profile_tokens:
        found = await picked(scope, found, talk)
    packed = pack(found, gists, budget, scope.gateway.count_tokens)
    # By what is known of the user and not by what fits, so that a budget does not change it; without the names of
    # slots, which are Latin in any language.
    known = [*(entry.content for entry in entries), *(gist.text for gist in gists)]
    language = await spoken_language(scope, known)
    return Context(packed, language, len(found), len(gists), is_searched=vector is not None)


async def picked(scope: Scope, entries: Sequence[Entry], talk: Sequence[Said]) -> list[Entry]:
    """The entries that help to answer, in their order; all of them where no model can be asked."""
    reader = scope.gateway.reader
    if reader is None or not entries:
        return list(entries)
    language = await spoken_language(scope, [said.content for said in talk])
    lines = [profile_line(entry.topic, entry.sub_topic, entry.content) for entry in entries]
    try:
        async with asyncio.timeout(PICK_TIMEOUT_S):
            numbers, usage = await reader.pick(lines, talk, language)
    except (MemostreamError, TimeoutError) as error:
        log.warning("reading.nothing_picked", project_id=scope.project_id, error=type(error).__name__)
        return list(entries)
    log.info("reading.picked", project_id=scope.project_id, tokens=usage.tokens, entries=len(numbers))
    wanted = frozenset(numbers)
    return [entry for number, entry in enumerate(entries) if number in wanted]


async def spoken_language(scope: Scope, texts: Sequence[str]) -> Language:
    """The project's language, or where it has none the one in which most of the texts are."""
    policy = await scope.gateway.policies.policy_of(scope.project_id)
    if policy.language != "auto":
        return policy.language
    return "en" if all(text.isascii() for text in texts) else language_of(texts)


async def read_as_of(connection: AsyncConnection, scope: Scope, user_id: str, query: TopicQuery) -> list[Entry]:
    """The profile of now, or as it was at a time; in no order."""
    if query.as_of is None:
        return await read_entries(connection, scope.project_id, user_id)
    return await read_entries_as_of(connection, scope.project_id, user_id, query.as_of, query.as_of_clock)


async def _searched_for(scope: Scope, talk: Sequence[Said]) -> Embedding | None:
    """The vector of the last messages; None where nothing is to be searched for, or embeddings are off."""
    if not talk or scope.gateway.embedder is None:
        return None
    question = "\n".join(said.content for said in talk[-MESSAGES_SEARCHED:]).strip()
    if not question:
        return None
    return await embed_question(scope.gateway, question[-MAX_QUESTION_CHARACTERS:], parameter="chats_str")


async def _recall(
    scope: Scope, user_id: str, query: ContextQuery, vector: Embedding | None
) -> tuple[list[Entry], list[RecentGist]]:
    # Without a limit: the clock of a worker may be ahead of ours.
    until = query.as_of or _END
    clock: Clock = "recorded" if query.as_of is None else query.as_of_clock
    since = _days_before(query.as_of or scope.gateway.now(), query.time_range_in_days)
    async with scope.connection() as connection:
        entries = await read_as_of(connection, scope, user_id, query)
        if vector is None:
            gists = await read_recent_gists(
                connection, scope.project_id, user_id, since=since, until=until, limit=MAX_GISTS, clock=clock
            )
        else:
            gists = await read_similar_gists(
                connection,
                scope.project_id,
                user_id,
                vector,
                threshold=query.event_similarity_threshold,
                since=since,
                until=until,
                limit=MAX_GISTS,
                embeds_by=scope.gateway.settings.embedding_model,
                clock=clock,
            )
    return entries, gists


def _days_before(moment: datetime, days: int) -> datetime:
    try:
        return moment - timedelta(days=max(0, days))
    except OverflowError:
        return _BEGINNING
