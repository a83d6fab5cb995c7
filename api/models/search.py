"""What searches take as parameters, and what they answer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.inputs import QueryTime, Text, without_nul
from api.models.events import Tag

MAX_FOUND: Final = 1000
MAX_DAYS: Final = 36_500
MAX_WORDS: Final = 1 << 12

_Words = Annotated[str, AfterValidator(without_nul)]


class SimilarityQuery(BaseModel):
    """A search by meaning, as Memobase has it."""

    model_config = ConfigDict(extra="ignore")

    query: Text = Field(description="What to look for.", examples=["what pets there are"])
    topk: int = Field(10, ge=0, le=MAX_FOUND, description="How many at most.")
    similarity_threshold: float = Field(
        0.2, ge=-1, le=1, allow_inf_nan=False, description="Only what is more similar than this."
    )
    time_range_in_days: int = Field(
        180, ge=0, le=MAX_DAYS, description="Only what was recorded in the last so many days."
    )


class TagQuery(BaseModel):
    """Events by their tags."""

    model_config = ConfigDict(extra="ignore")

    tags: _Words = Field("", max_length=MAX_WORDS, description="Tags that an event must have, `a,b`.")
    tag_values: _Words = Field(
        "", max_length=MAX_WORDS, description="Tags with values that an event must have, `a=x,b=y`."
    )
    topk: int = Field(10, ge=0, le=MAX_FOUND, description="How many at most.")


class MemoryQuery(TagQuery):
    """A search in all that is remembered of a user."""

    query: Text = Field(description="What to look for.", examples=["what pets there are"])
    mode: Literal["hybrid", "vector", "keyword"] = Field(
        "hybrid", description="By meaning and by words together, or by one of them."
    )
    kinds: Annotated[list[Literal["gist", "event", "profile"]], Field(max_length=10)] = Field(
        ["gist", "profile"], description="What to look in; may be repeated. An event's gists are its single lines."
    )
    similarity_threshold: float = Field(
        0.2,
        ge=-1,
        le=1,
        allow_inf_nan=False,
        description="What is not more similar than this is found by its words only.",
    )
    since: QueryTime | None = Field(
        None, description="Only what was said from this time on.", examples=["2026-11-01T00:00:00Z"]
    )
    until: QueryTime | None = Field(
        None, description="Only what was said before this time.", examples=["2026-12-01T00:00:00Z"]
    )
    session_id: _Words | None = Field(
        None,
        max_length=MAX_WORDS,
        description="Only what was said in this session. Like tags, it leaves the profile out.",
    )
    half_life_days: float | None = Field(
        None,
        ge=0.001,
        le=MAX_DAYS,
        allow_inf_nan=False,
        description="A score is halved with every so many days since it was said; without it, age does not matter.",
    )


class GistData(BaseModel):
    """What a gist says."""

    content: str = Field(description="One line, with the day on which it happened.")


class GistAnswer(BaseModel):
    """A single line of an event."""

    id: UUID = Field(description="Id of the gist.")
    gist_data: GistData = Field(description="What it says.")
    created_at: datetime = Field(description="When memory took it.")
    updated_at: datetime = Field(description="The same.")
    similarity: float | None = Field(description="How similar it is to the query, up to 1.")


_GIST: Final[Any] = {
    "id": "0b7c1d58-9a3e-4f0c-8f2e-0d0a4f0f7a11",
    "gist_data": {"content": "- Ann has begun at Acme [mention 2026/11/20] // event"},
    "created_at": "2026-11-20T10:00:00Z",
    "updated_at": "2026-11-20T10:00:00Z",
    "similarity": 0.62,
}


class GistsAnswer(BaseModel):
    """Gists; `events` is always empty here."""

    gists: Sequence[GistAnswer] = Field(description="The most similar first.", examples=[[_GIST]])
    events: Sequence[dict[str, str]] = Field(description="Always empty.", examples=[[]])


class Slot(BaseModel):
    """Where in the profile an entry stands."""

    topic: str = Field(description="Topic.")
    sub_topic: str = Field(description="Sub-topic.")


class FoundMemory(BaseModel):
    """Something that was found."""

    kind: Literal["gist", "event", "profile"] = Field(description="What it is.")
    id: UUID = Field(description="Id of the gist, the event or the entry.")
    content: str = Field(description="What it says: the gist, the event's summary, or the entry's content.")
    attributes: Slot | None = Field(description="Of an entry of the profile.")
    event_id: UUID | None = Field(description="Of a gist: its event.")
    event_tags: Sequence[Tag] | None = Field(description="Of an event, or of a gist's event.")
    session_ids: Sequence[str] | None = Field(description="Of a gist or an event: where it was said.")
    occurred_at: datetime = Field(description="When it was said.")
    created_at: datetime = Field(description="When memory took it.")
    updated_at: datetime = Field(description="When it was changed last.")
    similarity: float | None = Field(description="Cosine of its vector and the query's; null where there is none.")
    keyword_score: float | None = Field(description="BM25 of the words in common; null where there is none.")
    score: float = Field(description="What the order goes by, comparable within one answer.")


_FOUND: Final[Any] = {
    "kind": "profile",
    "id": "5e4a2d2e-3f0d-4a1f-9c58-2f3f8f6f3c20",
    "content": "has two cats",
    "attributes": {"topic": "interest", "sub_topic": "pets"},
    "event_id": None,
    "event_tags": None,
    "session_ids": None,
    "occurred_at": "2026-11-19T18:30:00Z",
    "created_at": "2026-11-19T18:31:02Z",
    "updated_at": "2026-11-19T18:31:02Z",
    "similarity": 0.58,
    "keyword_score": 3.1,
    "score": 1.0,
}


class SearchAnswer(BaseModel):
    """What was found, and how."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"results": [_FOUND], "mode": "hybrid", "degraded": None}]}
    )

    results: Sequence[FoundMemory] = Field(description="The best first.")
    mode: Literal["hybrid", "vector", "keyword"] = Field(description="How it was searched.")
    degraded: str | None = Field(
        description="Why a hybrid search went by words alone: embeddings are off or away; null where it did not."
    )
