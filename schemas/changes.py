"""Change events of `profile-updated` and `event-updated`, and the state on `profiles`.

A field without a default is in every record, and `required` in the published schema. One that is added later has a
default, since records that were published before do not hold it.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.records import Long

CHANGE_VERSION: Final = 1
# The types of the CloudEvents.
PROFILE_UPDATED_TYPE: Final = "memostream.profile.updated.v1"
EVENT_UPDATED_TYPE: Final = "memostream.event.updated.v1"
PROFILE_STATE_TYPE: Final = "memostream.profile.state.v1"

Changed = TypeVar("Changed")

Version = Annotated[int, Field(description="Version of the record's format.", json_schema_extra={"const": 1})]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
MessageIds = Annotated[
    Sequence[str],
    Field(description="Messages that it was taken from: `<blob id>/<index of the message in its blob>`."),
]
Op = Annotated[
    Literal["c", "u", "d", "r"],
    Field(description="What happened: c created, u updated, d deleted, r read again (replayed or snapshot state)."),
]
Revision = Annotated[Long, Field(description="The user's revision; it only grows. A higher one is newer.")]
CommittedMs = Annotated[Long, Field(description="When it was committed: Unix time in milliseconds.")]
OwnerProject = Annotated[str, Field(description="Project of the user.")]
OwnerUser = Annotated[str, Field(description="The user, as the producer named them.")]
OccurredAt = Annotated[Timestamp, Field(description="When it was said: RFC 3339, in UTC.")]
RecordedAt = Annotated[Timestamp, Field(description="When memory took it: RFC 3339, in UTC.")]


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Extractor(_Sent):
    """Who turned messages into memory."""

    name: str = Field(description="Provider: `offline` or `openai`.")
    version: str = Field(description="Version of the extraction's rules and steps.")
    model: str = Field(description="Model that was asked.")
    prompt_hash: str = Field(description="Hash of the prompts; another one means other prompts.")


class ChangeSource(_Sent):
    """Where a change came from. The offsets span the records that were extracted together, on one partition."""

    window_ids: Sequence[UUID] = Field(description="Windows that were extracted together.")
    topic: str | None = Field(description="Topic of the records; null where no record caused the change.")
    partition: int | None = Field(description="Partition of the records.")
    offset_from: Long | None = Field(description="Offset of the first record.")
    offset_to: Long | None = Field(description="Offset of the last record.")
    message_ids: MessageIds
    extractor: Extractor | None = Field(description="Who made it; null where no extractor did.")
    snapshot: Literal["false", "true", "last"] = Field(
        description="As in Debezium: true for a record of a snapshot, last for its last one."
    )


class ChangeEvent(_Sent, Generic[Changed]):
    """A change of one thing in a user's memory, shaped as Debezium's."""

    v: Version = CHANGE_VERSION
    op: Op
    before: Changed | None = Field(description="As it was before; null for c.")
    after: Changed | None = Field(description="As it is now; null for d.")
    ts_ms: CommittedMs
    revision: Revision
    project_id: OwnerProject
    user_id: OwnerUser
    source: ChangeSource


class ProfileEntry(_Sent):
    """One entry of a profile; topic and sub-topic name its slot."""

    id: UUID = Field(description="Id of the entry; it stays while the content changes.")
    topic: str = Field(description="Topic, as in `work`.")
    sub_topic: str = Field(description="Sub-topic, as in `company`; unique within the topic.")
    content: str = Field(description="What is known, in the user's language.")
    occurred_at: OccurredAt
    recorded_at: RecordedAt
    update_hits: int = Field(description="How often the content has changed.")
    message_ids: MessageIds


class ProfileChanged(ChangeEvent[ProfileEntry]):
    """A change of one profile entry, on `profile-updated`; shaped as Debezium's."""


class EventTag(_Sent):
    """A tag of an event, as in `emotion: proud`."""

    tag: str = Field(description="Name of the tag.")
    value: str = Field(description="Its value.")


class EventGist(_Sent):
    """One line of an event."""

    text: str = Field(description="The line.")
    message_ids: MessageIds
    occurred_at: OccurredAt


class Event(_Sent):
    """What happened in one stretch of conversation."""

    id: UUID = Field(description="Id of the event.")
    summary: str | None = Field(description="Summary of the conversation; null where none was made.")
    tags: Sequence[EventTag] = Field(description="Tags, in the extractor's order.")
    gists: Sequence[EventGist] = Field(description="What happened, line by line.")
    occurred_at: OccurredAt
    recorded_at: RecordedAt
    message_ids: MessageIds


class EventChanged(ChangeEvent[Event]):
    """A change of one event, on `event-updated`; shaped as Debezium's."""


class ProfileState(_Sent):
    """A user's whole current profile, on the compacted `profiles`. A null value (a tombstone) means forgotten."""

    v: Version = CHANGE_VERSION
    project_id: OwnerProject
    user_id: OwnerUser
    revision: Revision
    ts_ms: CommittedMs
    profile: Sequence[ProfileEntry] = Field(description="All entries, by topic and sub-topic.")
