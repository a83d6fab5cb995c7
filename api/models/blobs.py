"""Shapes of what the routes of blobs and buffers take and answer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.blob_states import BlobState
from schemas.records import BlobType, Identifier, UtcDatetime

STATE = (
    "Where it stands, in the words of `memostream audit`: unread, buffered, extracting, held, parked, applied, erased."
)
REASON = "Why it is parked or held; null for other states."
CHAT: Any = {"messages": [{"role": "user", "content": "I moved to Oslo", "alias": "Ann"}]}


class BlobBody(BaseModel):
    """A blob to insert."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"blob_type": "chat", "blob_data": CHAT, "fields": {"channel": "web"}},
                {
                    "blob_type": "chat",
                    "blob_data": CHAT,
                    "id": "order-4711-message-3",
                    "created_at": "2026-11-20T10:00:00Z",
                    "session_id": "visit-12",
                },
            ]
        }
    )

    blob_type: BlobType = Field(description="Type of the blob.")
    blob_data: dict[str, Any] = Field(
        description="What it holds, by its type: `messages` of a chat (role user or assistant, content, alias, "
        "created_at), `summary`, `content` of a doc, `content` and `language` of code, `transcripts`, or `url` or "
        "`base64` of an image. An empty list is answered with an id, and nothing is kept."
    )
    fields: dict[str, Any] | None = Field(None, description="Anything of yours, kept with the blob.")
    created_at: UtcDatetime | None = Field(None, description="When it was said; now if left out.")
    id: Identifier | None = Field(
        None,
        description="Your own id: sent again with the same content, it changes nothing. A UUID if left out. The header "
        "`Idempotency-Key` does the same for those who want no id of their own.",
    )
    session_id: str | None = Field(None, description="Session that it belongs to.")


class ChatModal(BaseModel):
    """What an extraction changed."""

    event_id: UUID | None = Field(description="The event that it wrote, if it wrote one.")
    add_profiles: Sequence[UUID] = Field(description="Ids of entries that are new.")
    update_profiles: Sequence[UUID] = Field(description="Ids of entries with another content.")
    delete_profiles: Sequence[UUID] = Field(description="Ids of entries that are gone, mostly joined with others.")


class InsertedBlob(BaseModel):
    """A blob that is in Kafka, on all replicas: it will be applied, or parked with the reason."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5f3c6f4e-3f1d-4a63-9d56-0a6ce1c6a1b2",
                    "chat_results": [],
                    "state": "unread",
                    "reason": None,
                }
            ]
        }
    )

    id: str = Field(description="The blob's id.")
    chat_results: Sequence[ChatModal] = Field(
        description="With wait_process=true and a blob that filled the buffer: what came of it. Else empty."
    )
    state: BlobState | None = Field(
        description=f"{STATE} Known as far as was waited: without wait_process it is unread. With wait_process it is "
        "extracting or held where the time was up before the work was done, which goes on. Null for an empty list."
    )
    reason: str | None = Field(description=REASON)


class StoredBlob(BaseModel):
    """A blob as it was sent, and where it stands."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "order-4711-message-3",
                    "blob_type": "chat",
                    "blob_data": CHAT,
                    "fields": None,
                    "created_at": "2026-11-20T10:00:00+00:00",
                    "updated_at": "2026-11-20T10:00:01+00:00",
                    "state": "applied",
                    "reason": None,
                }
            ]
        }
    )

    id: str = Field(description="The blob's id.")
    blob_type: BlobType = Field(description="Type of the blob.")
    blob_data: dict[str, Any] = Field(description="What it holds.")
    fields: dict[str, Any] | None = Field(description="What was sent with it.")
    created_at: datetime = Field(description="When it was said.")
    updated_at: datetime = Field(description="When Kafka took it.")
    state: BlobState = Field(description=STATE)
    reason: str | None = Field(description=REASON)


class BlobStateAnswer(BaseModel):
    """Where a blob stands."""

    id: str = Field(description="The blob's id.", examples=["order-4711-message-3"])
    state: BlobState = Field(description=STATE, examples=["parked"])
    reason: str | None = Field(description=REASON, examples=["content-rejected"])


class BlobIds(BaseModel):
    """Ids of blobs, the oldest first."""

    ids: Sequence[str] = Field(description="The blobs' ids.", examples=[["order-4711-message-3"]])
    blobs: Sequence[BlobStateAnswer] = Field((), description="The same with their states; left out unless asked for.")


class BufferIds(BaseModel):
    """Ids of blobs in a buffer, the oldest first."""

    ids: Sequence[str] = Field(description="The blobs' ids.", examples=[["order-4711-message-3"]])


class ImportBody(BaseModel):
    """A text to learn a profile from."""

    context: str = Field(
        description="What is known of the user, in any words.", examples=["Ann is a nurse. She moved to Oslo in May."]
    )
