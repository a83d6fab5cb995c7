"""A user's whole memory as one JSON document: what `memostream export` writes and `memostream import` reads."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import MemostreamError
from schemas.identity import content_hash
from schemas.memory import ChangeOp
from schemas.profile_schema import MAX_NAME_CHARACTERS
from schemas.records import BlobType, Identifier, Long, ProjectId, UtcDatetime, describe_validation_error, is_deeper
from schemas.windows import Position

EXPORT_VERSION: Final = 1
# A blob may hold fields of 64 levels; serialisers give up at about 250.
MAX_DEPTH: Final = 100
# Of Postgres' types; a revision has to have a next one.
MAX_INT: Final = (1 << 31) - 1
MAX_LONG: Final = (1 << 63) - 2
EXPORT_KIND: Final = "memostream.user-export"
# Why a change was made that was brought from elsewhere, without an extractor of ours.
IMPORTED: Final = "imported"
# What names the user, the moment and the count of changes says nothing of the memory.
_NOT_MEMORY: Final = {"project_id", "user_id", "exported_at", "revision"}

SaidAt = Annotated[UtcDatetime, Field(description="When it was said: RFC 3339, in UTC.")]
RecordedAt = Annotated[UtcDatetime, Field(description="When memory took it: RFC 3339, in UTC.")]
MessageIds = Annotated[
    tuple[str, ...],
    Field(description="Messages that it was taken from: `<blob id>/<index of the message in its blob>`."),
]
WindowIds = Annotated[tuple[UUID, ...], Field(description="Windows that it was extracted from.")]
SessionIds = Annotated[tuple[str, ...], Field(description="Sessions that the messages were sent in.")]
Extractor = Annotated[
    dict[str, str] | None, Field(description="Who took it from messages; null where no extractor did.")
]
UserRevision = Annotated[Long, Field(ge=0, le=MAX_LONG, description="The user's revision that it was made at.")]
Number = Annotated[int, Field(ge=0, le=MAX_INT)]
SlotName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
UnitIndex = Annotated[Number | None, Field(description="Which message of the blob, where it was split.")]
UnitPart = Annotated[Number | None, Field(description="Which part of the message, where that was.")]


def _check_position(value: Position | None) -> Position | None:
    numbers = [(0, 0)] if value is None else [(value.partition, MAX_INT), (value.offset, MAX_LONG)]
    numbers += [] if value is None else [(value.timestamp_ms, MAX_LONG)]
    if any(not -1 <= number <= most for number, most in numbers):
        raise ValueError("must be a partition, an offset and a timestamp of Kafka's")
    return value


UnitPosition = Annotated[Position | None, AfterValidator(_check_position)]


def _check_fact(value: dict[str, Any]) -> dict[str, Any]:
    slot = value.get("attributes")
    named = [value.get("content"), *(slot.get(key) for key in ("topic", "sub_topic"))] if isinstance(slot, dict) else []
    if not named or not all(isinstance(text, str) for text in named):
        raise ValueError("must hold content, attributes.topic and attributes.sub_topic, as texts")
    return value


class _Exported(BaseModel):
    # What is not known would be lost without a word: whatever is added makes another version.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ExportedEntry(_Exported):
    """One entry of the profile; topic and sub-topic name its slot."""

    id: UUID = Field(description="Id of the entry.")
    topic: SlotName = Field(description="Topic.")
    sub_topic: SlotName = Field(description="Sub-topic; unique within the topic.")
    content: str = Field(description="What is known.")
    update_hits: Number = Field(0, description="How often the content has changed.")
    message_ids: MessageIds = ()
    window_ids: WindowIds = ()
    occurred_at: SaidAt
    recorded_at: RecordedAt
    created_at: UtcDatetime = Field(description="When the entry was made.")
    updated_at: UtcDatetime = Field(description="When it was changed last.")


class ExportedQuote(_Exported):
    """Words of a message, as they stand in it."""

    message_id: str = Field(description="The message.")
    quote: str = Field(description="Its words.")


class ExportedChange(_Exported):
    """One change of one slot, from the profile's history."""

    profile_id: UUID = Field(description="Id of the entry.")
    topic: str = Field(description="Topic.")
    sub_topic: str = Field(description="Sub-topic.")
    op: ChangeOp = Field(description="c created, u updated, d deleted.")
    before: str | None = Field(None, description="What it held before; null for c.")
    after: str | None = Field(None, description="What it held then; null for d.")
    why: str = Field(description="Why, as a short word; `imported` for what was brought from elsewhere.")
    revision: UserRevision
    message_ids: MessageIds = ()
    quotes: tuple[ExportedQuote, ...] = Field((), description="The words that it was taken from.")
    joined: tuple[str, ...] = Field((), description="Sub-topics that were deleted for this one, which holds theirs.")
    window_ids: WindowIds = ()
    extractor: Extractor = None
    occurred_at: SaidAt
    recorded_at: RecordedAt


class ExportedTag(_Exported):
    """A tag of an event, as in `emotion: proud`."""

    tag: str = Field(description="Name of the tag.")
    value: str = Field(description="Its value.")


class ExportedGist(_Exported):
    """One line of an event."""

    id: UUID = Field(description="Id of the line.")
    text: str = Field(description="The line.")
    message_ids: MessageIds = ()
    quotes: tuple[ExportedQuote, ...] = Field((), description="The words that it was taken from.")
    session_ids: SessionIds = ()
    occurred_at: SaidAt
    recorded_at: RecordedAt


class ExportedEvent(_Exported):
    """What happened in one stretch of conversation."""

    id: UUID = Field(description="Id of the event.")
    summary: str | None = Field(None, description="Summary; null where none was made.")
    tags: tuple[ExportedTag, ...] = Field((), description="Tags.")
    profile_delta: tuple[Annotated[dict[str, Any], AfterValidator(_check_fact)], ...] = Field(
        (), description="The facts as extracted: content, attributes (topic, sub_topic) and message_ids."
    )
    gists: tuple[ExportedGist, ...] = Field((), description="What happened, line by line.")
    revision: UserRevision
    message_ids: MessageIds = ()
    window_ids: WindowIds = ()
    session_ids: SessionIds = ()
    extractor: Extractor = None
    occurred_at: SaidAt
    recorded_at: RecordedAt
    updated_at: UtcDatetime | None = Field(None, description="When it was edited by hand; null where nobody has.")


class ExportedEdit(_Exported):
    """What was edited by hand beside the profile, or an import; see `kind`."""

    kind: Literal["user", "event", "import"] = Field(
        description="user: the user's fields; event: an event; import: that this memory was brought from elsewhere."
    )
    event_id: UUID | None = Field(None, description="The event, where it is one.")
    op: ChangeOp = Field(description="c created, u updated, d deleted.")
    before: Any = Field(None, description="As it was before.")
    after: Any = Field(None, description="As it was then; of an import where it came from.")
    revision: UserRevision
    recorded_at: RecordedAt


class ExportedUnit(_Exported):
    """A blob, or a piece of one, and what became of it: what is applied is not extracted again where it is imported."""

    blob_id: Identifier = Field(description="Id of the blob.")
    message_index: UnitIndex = None
    part: UnitPart = None
    blob_type: str = Field(description="Type of the blob.")
    state: Literal["applied", "parked", "erased"] = Field(
        description="applied: it is in memory; parked: it was refused; erased: it was deleted."
    )
    reason: str | None = Field(None, description="Why it was parked.")
    content_hash: str | None = Field(None, description="SHA-256 of the whole blob in normal form.")
    window_id: UUID | None = Field(None, description="Window that it was extracted in.")
    position: UnitPosition = Field(None, description="Where it lies in chat-messages.")
    origin: UnitPosition = Field(None, description="Where the producer put it, where that is elsewhere.")
    recorded_at: RecordedAt


class ExportedBlob(_Exported):
    """The text of a blob, or of a piece of one, where Postgres keeps it (`storage.persistent_chat_blobs`)."""

    blob_id: Identifier = Field(description="Id of the blob.")
    message_index: UnitIndex = None
    part: UnitPart = None
    blob_type: BlobType = Field(description="Type of the blob.")
    content: dict[str, Any] = Field(description="The blob without its ids: blob_type, blob_data, fields, created_at.")
    occurred_at: SaidAt
    recorded_at: RecordedAt


class ExportedStatus(_Exported):
    """How a conversation of role-play stood."""

    kind: str = Field(description="Kind of the status.")
    attributes: dict[str, Any] = Field(description="What was found.")
    recorded_at: RecordedAt


class UserExport(_Exported):
    """A user's whole memory, as of one moment: entries, history, events, edits, units and texts. Without embeddings,
    which are made again.
    """

    v: Annotated[int, Field(description="Version of the format.", json_schema_extra={"const": EXPORT_VERSION})] = (
        EXPORT_VERSION
    )
    kind: Literal["memostream.user-export"] = Field(EXPORT_KIND, description="Tells it from other JSON.")
    project_id: ProjectId = Field(description="Project of the user, up to 255 bytes of UTF-8, without a slash.")
    user_id: Identifier = Field(description="The user, up to 255 bytes of UTF-8.")
    exported_at: UtcDatetime = Field(description="When it was exported.")
    revision: Long = Field(ge=0, le=MAX_LONG, description="The user's revision then.")
    fields: dict[str, Any] | None = Field(None, description="Fields of the caller's own.")
    created_at: UtcDatetime = Field(description="Since when the user is known.")
    updated_at: UtcDatetime = Field(description="When the memory changed last.")
    profile: tuple[ExportedEntry, ...] = Field((), description="Entries, by topic and sub-topic.")
    history: tuple[ExportedChange, ...] = Field((), description="All changes of the profile, the oldest first.")
    events: tuple[ExportedEvent, ...] = Field((), description="Events, the oldest first.")
    edits: tuple[ExportedEdit, ...] = Field((), description="Edits by hand beside the profile, the oldest first.")
    units: tuple[ExportedUnit, ...] = Field((), description="Blobs and pieces of blobs, and what became of each.")
    blobs: tuple[ExportedBlob, ...] = Field((), description="Texts that are kept.")
    statuses: tuple[ExportedStatus, ...] = Field((), description="Statuses of role-play, the oldest first.")

    @model_validator(mode="after")
    def _check_unique(self) -> "UserExport":
        _check_once("profile", "topic and sub_topic", ((one.topic, one.sub_topic) for one in self.profile))
        _check_once("profile", "id", (one.id for one in self.profile))
        _check_once("events", "id", (one.id for one in self.events))
        _check_once("events", "id of a gist", (gist.id for one in self.events for gist in one.gists))
        _check_once("blobs", "piece", ((one.blob_id, one.message_index, one.part) for one in self.blobs))
        return self

    @property
    def newest_revision(self) -> int:
        """The highest that anything in it was made at."""
        made = [one.revision for one in self.history] + [one.revision for one in self.events]
        return max([self.revision, *made, *(one.revision for one in self.edits)])

    def digest(self) -> str:
        """SHA-256 (hex) of the memory alone: the same for whoever has the same, whenever it is exported."""
        return content_hash(self.model_dump(mode="json", exclude=_NOT_MEMORY))

    def line(self) -> str:
        """One line of JSON, without a line break."""
        return self.model_dump_json()


class InvalidExport(MemostreamError):
    """What cannot be imported; `detail` names the field and the fix and never quotes a value."""

    def __init__(self, reason: Literal["foreign", "newer-version", "invalid-export"], detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def parse_export(document: Any) -> UserExport:
    """Raises InvalidExport."""
    if not isinstance(document, dict) or document.get("kind") != EXPORT_KIND:
        raise InvalidExport("foreign", f"is no export of memostream, which has kind {EXPORT_KIND}")
    version = document.get("v")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidExport("invalid-export", "v: must be a whole number from 1 on")
    if version > EXPORT_VERSION:
        raise InvalidExport(
            "newer-version", f"v is {version}, this memostream reads up to {EXPORT_VERSION}; upgrade it, then import"
        )
    if is_deeper(document, MAX_DEPTH):
        raise InvalidExport("invalid-export", f"must not be nested more than {MAX_DEPTH} levels deep")
    try:
        return UserExport.model_validate(document)
    except ValidationError as error:
        raise InvalidExport("invalid-export", describe_validation_error(error)) from None


def counts_of(export: UserExport) -> Mapping[str, int]:
    """How much of each there is."""
    return {
        "entries": len(export.profile),
        "changes": len(export.history),
        "events": len(export.events),
        "gists": sum(len(event.gists) for event in export.events),
        "edits": len(export.edits),
        "units": len(export.units),
        "blobs": len(export.blobs),
    }


def months_of(export: UserExport) -> Sequence[datetime]:
    """A moment of each month that a unit was recorded in, the oldest first."""
    found = {(unit.recorded_at.year, unit.recorded_at.month): unit.recorded_at for unit in export.units}
    return [found[month] for month in sorted(found)]


def _check_once(where: str, what: str, values: Iterable[Any]) -> None:
    if any(count > 1 for count in Counter(values).values()):
        raise ValueError(f"{where}: two have the same {what}")
