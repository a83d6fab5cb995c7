"""Change events of `profile-updated` and `event-updated`, and the state on `profiles`."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

CHANGE_VERSION = 1


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Extractor(_Sent):
    name: str
    version: str
    model: str
    prompt_hash: str


class ChangeSource(_Sent):
    """Where a change came from; the offsets span the units' positions on one partition of one topic."""

    window_ids: Sequence[UUID] = ()
    topic: str | None = None
    partition: int | None = None
    offset_from: int | None = None
    offset_to: int | None = None
    message_ids: Sequence[str] = ()
    extractor: Extractor | None = None
    snapshot: Literal["false", "true", "last"] = "false"


class ChangeEvent(_Sent):
    """Debezium-shaped value. `before` and `after` are profile entries or events; `ts_ms` is when it was committed."""

    v: int = CHANGE_VERSION
    op: Literal["c", "u", "d", "r"]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    ts_ms: int
    revision: int
    project_id: str
    user_id: str
    source: ChangeSource


class ProfileEntry(_Sent):
    """A profile entry as published; times are RFC 3339 in UTC."""

    id: UUID
    topic: str
    sub_topic: str
    content: str
    occurred_at: str
    recorded_at: str
    update_hits: int = 0
    message_ids: Sequence[str] = ()


class ProfileState(_Sent):
    """A user's whole current profile on the compacted topic; a higher `revision` is newer."""

    v: int = CHANGE_VERSION
    project_id: str
    user_id: str
    revision: int
    ts_ms: int
    profile: Sequence[ProfileEntry]
