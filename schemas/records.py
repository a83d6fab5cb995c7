"""Records of `chat-messages`: blobs, discriminated by `blob_type`, and commands."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from schemas.errors import InvalidRecord
from schemas.identity import content_hash

RECORD_VERSION: Final = 1
MAX_ID_BYTES: Final = 255
# Serialisers give up at about 250 levels, and a window wraps a blob in a few of its own.
MAX_FIELDS_DEPTH: Final = 64
DEFAULT_PROJECT_ID: Final = "default"
BLOB_TYPES: Final = ("chat", "summary", "doc", "code", "transcript", "image")

BlobType = Literal["chat", "summary", "doc", "code", "transcript", "image"]


def check_id(value: str) -> str:
    """The id itself; raises ValueError for one that no route takes."""
    size_bytes = len(value.encode())
    if not value or size_bytes > MAX_ID_BYTES:
        raise ValueError(f"must be 1 to {MAX_ID_BYTES} bytes long, is {size_bytes}")
    if "\x00" in value:
        raise ValueError("must not hold a NUL character")
    return value


def check_project_id(value: str) -> str:
    """As check_id, for a project."""
    if "/" in value:
        raise ValueError("must not hold a slash, for `project/user` names one user on the change topics")
    return check_id(value)


def is_deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value is nested more than so many levels deep."""
    level: list[Any] = [value]
    for _ in range(levels + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _check_depth(value: dict[str, Any]) -> dict[str, Any]:
    if is_deeper(value, MAX_FIELDS_DEPTH):
        raise ValueError(f"must not be nested more than {MAX_FIELDS_DEPTH} levels deep")
    return value


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _check_is_text(value: object) -> object:
    # Pydantic would read a number as seconds since 1970, which nobody means by "12".
    if isinstance(value, datetime) or (isinstance(value, str) and "-" in value[1:]):
        return value
    raise ValueError("must be a time like 2026-11-20T10:00:00Z")


def _to_utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is outside the years 1 to 9999 in UTC") from error


# In the published schemas: what can be said of a length in bytes there, and of what the validators refuse.
_ID_SCHEMA: Final = {"minLength": 1, "maxLength": MAX_ID_BYTES}

# Code generators choose 32 bits where nothing is said.
Long = Annotated[int, Field(json_schema_extra={"format": "int64"})]
Identifier = Annotated[str, AfterValidator(check_id), Field(json_schema_extra=_ID_SCHEMA)]
ProjectId = Annotated[
    str, AfterValidator(check_project_id), Field(json_schema_extra={**_ID_SCHEMA, "pattern": "^[^/]+$"})
]
Fields = Annotated[dict[str, Any], AfterValidator(_check_depth)]
Version = Annotated[
    int,
    Field(description="Version of the record's format; 1 if left out.", json_schema_extra={"const": RECORD_VERSION}),
]
OwnerProject = Annotated[
    ProjectId, Field(description="Project of the user, up to 255 bytes of UTF-8; `default` if left out.")
]
OwnerUser = Annotated[
    Identifier, Field(description="The user, up to 255 bytes of UTF-8. Use it as the record's key, too.")
]
UtcDatetime = Annotated[datetime, BeforeValidator(_check_is_text), AfterValidator(_to_utc)]


class WireModel(BaseModel):
    """Frozen; keys that we do not know are ignored, so that producers may carry their own."""

    # Inputs hold what users said, and an error's text may be logged.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null", hide_input_in_errors=True)


class ChatMessage(WireModel):
    """One message of a chat."""

    role: Literal["user", "assistant"] = Field(description="Who said it.")
    content: str = Field(description="What was said.")
    alias: str | None = Field(None, description="Name of who said it, as the model shall read it.")
    created_at: str | None = Field(
        None,
        description="When it was said, as free text that the model reads; the blob's own created_at is what counts.",
    )


class ChatData(WireModel):
    """A chat, whole or a part of one."""

    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1)] = Field(description="Messages in their order.")


class SummaryData(WireModel):
    """A summary of a conversation."""

    summary: str = Field(description="The summary.")


class DocData(WireModel):
    """A document."""

    content: str = Field(description="Its text.")


class CodeData(WireModel):
    """A piece of code."""

    content: str = Field(description="The code.")
    language: str | None = Field(None, description="Programming language, as in `python`.")


class TranscriptLine(WireModel):
    """One line of a transcript."""

    content: str = Field(description="What was said.")
    start_timestamp_in_seconds: float = Field(description="Seconds from the beginning of the recording.")
    # The odd name is Memobase's.
    end_time_timestamp_in_seconds: float | None = Field(None, description="Where the line ends, in the same seconds.")
    speaker: str | None = Field(None, description="Who said it.")


class TranscriptData(WireModel):
    """The transcript of a recording."""

    transcripts: Annotated[tuple[TranscriptLine, ...], Field(min_length=1)] = Field(description="Lines in their order.")


class ImageData(WireModel):
    """An image, by url or base64. Without a model that sees (`llm.vision`) it is kept in `dead-letters`."""

    url: str | None = Field(None, description="Where it lies: http or https. The model's endpoint fetches it, not we.")
    base64: str | None = Field(
        None, description="The image itself: PNG, JPEG, GIF or WebP. If there is one, the url is not used."
    )


class BlobBase(WireModel):
    """The envelope shared by all blob types. A `created_at` without a zone is read as UTC."""

    v: Version = RECORD_VERSION
    id: Identifier | None = Field(
        None,
        description="Your own idempotency key, up to 255 bytes: sent again with the same content, it changes nothing. "
        "Derived from the record's position if left out.",
    )
    project_id: OwnerProject = DEFAULT_PROJECT_ID
    user_id: OwnerUser
    created_at: UtcDatetime | None = Field(
        None, description="When it was said, as in 2026-11-20T10:00:00Z; the record's timestamp if left out."
    )
    session_id: str | None = Field(None, description="Session that it belongs to.")
    fields: Fields | None = Field(None, description="Anything of yours, kept with the blob.")

    def content(self) -> dict[str, Any]:
        """The normalised blob without ids and version: what a unit carries and the content hash is taken of."""
        return self.model_dump(mode="json", exclude={"v", "id", "project_id", "user_id"}, exclude_none=True)

    def content_hash(self) -> str:
        """The hash that tells a duplicate (same id, same hash) from a conflict; a time not sent is not in it."""
        return content_hash(self.content())


class ChatBlob(BlobBase):
    """A chat of one or more messages."""

    blob_type: Literal["chat"] = Field("chat", description="Type of the blob; chat if left out.")
    blob_data: ChatData = Field(description="What it holds.")


class SummaryBlob(BlobBase):
    """A summary of a conversation, made elsewhere."""

    blob_type: Literal["summary"] = Field(description="Type of the blob.")
    blob_data: SummaryData = Field(description="What it holds.")


class DocBlob(BlobBase):
    """A document of the user's."""

    blob_type: Literal["doc"] = Field(description="Type of the blob.")
    blob_data: DocData = Field(description="What it holds.")


class CodeBlob(BlobBase):
    """Code of the user's."""

    blob_type: Literal["code"] = Field(description="Type of the blob.")
    blob_data: CodeData = Field(description="What it holds.")


class TranscriptBlob(BlobBase):
    """A transcript of what was spoken."""

    blob_type: Literal["transcript"] = Field(description="Type of the blob.")
    blob_data: TranscriptData = Field(description="What it holds.")


class ImageBlob(BlobBase):
    """An image of the user's."""

    blob_type: Literal["image"] = Field(description="Type of the blob.")
    blob_data: ImageData = Field(description="What it holds.")


Blob = Annotated[
    ChatBlob | SummaryBlob | DocBlob | CodeBlob | TranscriptBlob | ImageBlob, Field(discriminator="blob_type")
]


class Command(WireModel):
    """An instruction that travels among a user's messages, so that it is ordered with them."""

    v: Version = RECORD_VERSION
    command: Literal["flush", "forget-user"] = Field(
        description="flush: extract what is buffered now. forget-user: erase all that is known of the user."
    )
    id: Identifier | None = Field(
        None, description="Id of the command, up to 255 bytes; derived from the record's position if left out."
    )
    project_id: OwnerProject = DEFAULT_PROJECT_ID
    user_id: OwnerUser
    blob_type: BlobType | None = Field(None, description="Flush blobs of this type only; of all types if left out.")
    last_blob_id: Identifier | None = Field(
        None, description="Flush only if no later blob of the user has come than this one."
    )


_BLOB: Final[TypeAdapter[Any]] = TypeAdapter(Blob)


def parse_record(document: Any) -> "Blob | Command":
    """Validate the document of a record of `chat-messages`.

    Raises InvalidRecord with reason `newer-version`, `unknown-blob-type` or `invalid-record`; its detail names each
    field at fault and never quotes a value.
    """
    if not isinstance(document, dict):
        raise InvalidRecord("invalid-record", f"the value must be a JSON object, is a {type(document).__name__}")
    version = document.get("v", RECORD_VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidRecord("invalid-record", "v: must be a whole number from 1 on")
    if version > RECORD_VERSION:
        raise InvalidRecord(
            "newer-version", f"v is {version}, this worker reads up to {RECORD_VERSION}; upgrade it, then redrive"
        )
    try:
        if "command" in document:
            return Command.model_validate(document)
        blob_type = document.get("blob_type", "chat")
        if blob_type not in BLOB_TYPES:
            raise InvalidRecord("unknown-blob-type", f"blob_type: must be one of {', '.join(BLOB_TYPES)}")
        blob: Blob = _BLOB.validate_python({**document, "blob_type": blob_type})
        return blob
    except ValidationError as error:
        raise InvalidRecord("invalid-record", describe_validation_error(error)) from None


def describe_validation_error(error: ValidationError, limit: int = 5) -> str:
    """`field.path: what is wrong` for the first errors; quotes no input, so it may be logged."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lines = []
    for item in found[:limit]:
        path = ".".join(str(part) for part in item["loc"] if part not in BLOB_TYPES) or "value"
        lines.append(f"{path}: {item['msg'].removeprefix('Value error, ')}")
    if len(found) > limit:
        lines.append(f"and {len(found) - limit} more")
    return "; ".join(lines)
