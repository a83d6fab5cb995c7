"""Shapes of events, as Memobase's clients read and write them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.models.fields import Words

_FACT: Final[Any] = {"content": "Acme", "attributes": {"topic": "work", "sub_topic": "company"}}
_DATA: Final[Any] = {
    "profile_delta": [_FACT],
    "event_tip": "Ann told of her new work.\n- Ann has begun at Acme",
    "event_tags": [{"tag": "emotion", "value": "proud"}],
}


class FactSlot(BaseModel):
    """Where in the profile a fact belongs."""

    topic: Words = Field(description="Topic.")
    sub_topic: Words = Field(description="Sub-topic.")


class EventFact(BaseModel):
    """A fact that was learned in an event, before it was merged into the profile."""

    content: Words = Field(description="What was learned.")
    attributes: FactSlot = Field(description="Where in the profile it belongs.")


class Tag(BaseModel):
    """A tag of an event."""

    tag: Words = Field(description="Name of the tag.")
    value: Words = Field(description="Its value.")


class EventBody(BaseModel):
    """What is to stand in an event; what is left out or null stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"event_tip": _DATA["event_tip"]}, _DATA]})

    profile_delta: Sequence[EventFact] | None = Field(None, description="Facts that were learned.")
    event_tip: Words | None = Field(
        None,
        description="What happened. Lines at its end that begin with `- ` are its gists, which search and contexts "
        "show; without such lines it is one itself.",
    )
    event_tags: Sequence[Tag] | None = Field(None, description="Its tags.")


class EventData(BaseModel):
    """What an event says."""

    profile_delta: Sequence[EventFact] = Field(description="Facts that were learned, before they were merged.")
    event_tip: str | None = Field(description="A summary, then line by line what happened; null where nothing is said.")
    event_tags: Sequence[Tag] | None = Field(description="Its tags.")


class EventAnswer(BaseModel):
    """An event."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "3f2c1d9e-8a41-4c67-b0a5-5d6f7e8a9b0c",
                    "event_data": _DATA,
                    "created_at": "2026-11-20T10:00:00+00:00",
                    "updated_at": "2026-11-20T10:00:00+00:00",
                    "similarity": None,
                }
            ]
        }
    )

    id: UUID = Field(description="Id of the event.")
    event_data: EventData = Field(description="What it says.")
    created_at: datetime = Field(description="When memory took it.")
    updated_at: datetime = Field(description="When it was edited last.")
    similarity: float | None = Field(description="How similar it is to the query, up to 1; null where none was asked.")


class EventsAnswer(BaseModel):
    """Events; `gists` is always empty here."""

    events: Sequence[EventAnswer] = Field(description="The newest first.")
    gists: Sequence[dict[str, str]] = Field(description="Always empty.", examples=[[]])
