"""What a request for a search means: its parameters as a search, and what is answered where there is no vector."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from api.errors import ApiError
from api.gateway import Gateway
from api.models.search import MemoryQuery
from api.question import NO_EMBEDDINGS, OTHER_MODEL, embed_question
from schemas.errors import RetryLater
from schemas.memory import Embedding
from storage.search import Found, Mode, Narrowing, Search

AWAY: Final = "the endpoint of embeddings is away or too slow; search again later to search by meaning, too"
REFUSED: Final = "the embedding model refuses this query"
UNKNOWN: Final = "the embedding model knows no word of this query"
_REASONS: Final = {501: NO_EMBEDDINGS, 503: OTHER_MODEL}


@dataclass(frozen=True, slots=True)
class Question:
    """How a query is searched for. `vector` is None in a search by keyword, and where nothing can be similar."""

    mode: Mode
    vector: Embedding | None
    degraded: str | None = None


async def question_of(gateway: Gateway, query: str, mode: Mode) -> Question:
    """A hybrid search goes by words alone where there is no vector. Raises as `embed_question` does in `vector`."""
    if mode == "keyword":
        return Question("keyword", None)
    if mode == "vector":
        return Question("vector", await embed_question(gateway, query))
    try:
        vector = await embed_question(gateway, query)
    except RetryLater:
        return Question("keyword", None, AWAY)
    except ApiError as error:
        return Question("keyword", None, _REASONS.get(error.errno, REFUSED))
    return Question("keyword", None, UNKNOWN) if vector is None else Question("hybrid", vector)


def asked(query: str) -> str:
    """The query. Raises ApiError for one that says nothing."""
    if not query.strip():
        raise ApiError(400, "query: must not be empty")
    return query


def search_of(wanted: MemoryQuery, question: Question, gateway: Gateway) -> Search:
    """What storage is asked."""
    return Search(
        mode=question.mode,
        question=wanted.query,
        vector=question.vector,
        limit=wanted.topk,
        now=gateway.now(),
        kinds=tuple(wanted.kinds),
        threshold=wanted.similarity_threshold,
        half_life_days=wanted.half_life_days,
        narrowing=Narrowing(
            occurred_since=wanted.since,
            occurred_until=wanted.until,
            tags=tuple(names_in(wanted.tags)),
            tag_values=tuple(pairs_in(wanted.tag_values)),
            session_id=wanted.session_id,
        ),
        embeds_by=gateway.settings.embedding_model,
    )


def names_in(text: str) -> Iterator[str]:
    """Of `a, b` the names."""
    return (name for part in text.split(",") if (name := part.strip()))


def pairs_in(text: str) -> Iterator[tuple[str, str]]:
    """Of `a=x, b=y` the pairs; a value may hold an equals sign. Raises ApiError for what is no pair."""
    for part in names_in(text):
        name, sign, value = part.partition("=")
        if not sign or not name.strip():
            raise ApiError(400, "tag_values: write each as name=value, separated by commas")
        yield name.strip(), value.strip()


def found_answer(found: Found) -> dict[str, Any]:
    """A row as it is answered."""
    is_entry = found.kind == "profile"
    return {
        "kind": found.kind,
        "id": str(found.id),
        "content": found.text,
        "attributes": {"topic": found.topic, "sub_topic": found.sub_topic} if is_entry else None,
        "event_id": str(found.event_id) if found.kind == "gist" else None,
        "event_tags": found.tags,
        "session_ids": found.session_ids,
        "occurred_at": found.occurred_at,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
        "similarity": found.similarity,
        "keyword_score": found.keyword_score,
        "score": found.score,
    }
