"""Search in what is remembered of a user."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from api.envelope import Envelope, JsonResponse, ok
from api.events import event_answer
from api.inputs import UserId
from api.lines import gist_line
from api.models.events import EventsAnswer
from api.models.search import GistsAnswer, MemoryQuery, SearchAnswer, SimilarityQuery, TagQuery
from api.query_models import described, in_query
from api.question import embed_question
from api.routing import new_router
from api.scope import ScopeDep
from api.searching import asked, found_answer, names_in, pairs_in, question_of, search_of
from storage.browsing import read_events, read_events_of
from storage.search import Found, Kind, Narrowing, Search, search, tags_document

router = new_router("search")


@router.get(
    "/users/search/{user_id}",
    response_model=Envelope[SearchAnswer],
    openapi_extra=described(MemoryQuery),
    summary="Search a user's memory",
)
async def search_memory(
    scope: ScopeDep, user_id: UserId, query: Annotated[MemoryQuery, in_query(MemoryQuery)]
) -> JsonResponse:
    """By meaning and by words, joined by reciprocal rank fusion: the best of all kinds in one list.

    Where embeddings are off or away, a hybrid search goes by words alone and says why in `degraded`; a search by
    `vector` is answered with 501 or 503. A user who is not known has nothing.
    """
    question = await question_of(scope.gateway, asked(query.query), query.mode)
    found: Sequence[Found] = ()
    if question.mode != "vector" or question.vector is not None:
        async with scope.connection() as connection:
            found = await search(connection, scope.project_id, user_id, search_of(query, question, scope.gateway))
    results = [found_answer(item) for item in found]
    return ok({"results": results, "mode": question.mode, "degraded": question.degraded})


@router.get(
    "/users/event/search/{user_id}",
    response_model=Envelope[EventsAnswer],
    openapi_extra=described(SimilarityQuery),
    summary="Search a user's events by meaning",
)
async def search_events(
    scope: ScopeDep, user_id: UserId, query: Annotated[SimilarityQuery, in_query(SimilarityQuery)]
) -> JsonResponse:
    """The most similar first. Events are compared by their summaries; 501 where embeddings are off."""
    found = await _similar(scope, user_id, query, "event")
    async with scope.connection() as connection:
        rows = await read_events_of(connection, scope.project_id, user_id, [item.id for item in found])
    # One that was removed in between is left out.
    events = [event_answer(rows[item.id], item.similarity) for item in found if item.id in rows]
    return ok({"events": events, "gists": []})


@router.get(
    "/users/event_gist/search/{user_id}",
    response_model=Envelope[GistsAnswer],
    openapi_extra=described(SimilarityQuery),
    summary="Search the lines of a user's events by meaning",
)
async def search_gists(
    scope: ScopeDep, user_id: UserId, query: Annotated[SimilarityQuery, in_query(SimilarityQuery)]
) -> JsonResponse:
    """The most similar first; 501 where embeddings are off."""
    gists = [
        {
            "id": str(item.id),
            "gist_data": {"content": gist_line(item.text, item.occurred_at)},
            "created_at": item.created_at,
            "updated_at": item.updated_at,
            "similarity": item.similarity,
        }
        for item in await _similar(scope, user_id, query, "gist")
    ]
    return ok({"gists": gists, "events": []})


@router.get(
    "/users/event_tags/search/{user_id}",
    response_model=Envelope[EventsAnswer],
    openapi_extra=described(TagQuery),
    summary="Find a user's events by tags",
)
async def search_tags(scope: ScopeDep, user_id: UserId, query: Annotated[TagQuery, in_query(TagQuery)]) -> JsonResponse:
    """Events that have all the tags and values that are asked for, however old, the newest first."""
    tags = tags_document(tuple(names_in(query.tags)), tuple(pairs_in(query.tag_values)))
    async with scope.connection() as connection:
        found = await read_events(connection, scope.project_id, user_id, query.topk, tags=tags)
    return ok({"events": [event_answer(event) for event in found], "gists": []})


async def _similar(scope: ScopeDep, user_id: str, query: SimilarityQuery, kind: Kind) -> Sequence[Found]:
    """Raises ApiError where embeddings are off, and RetryLater where they are away."""
    vector = await embed_question(scope.gateway, asked(query.query))
    if vector is None:
        return ()
    now = scope.gateway.now()
    wanted = Search(
        mode="vector",
        question=query.query,
        vector=vector,
        limit=query.topk,
        now=now,
        kinds=(kind,),
        threshold=query.similarity_threshold,
        narrowing=Narrowing(recorded_since=now - timedelta(days=query.time_range_in_days)),
        embeds_by=scope.gateway.settings.embedding_model,
    )
    async with scope.connection() as connection:
        return await search(connection, scope.project_id, user_id, wanted)
