"""Records of `chat-messages`: blobs, discriminated by `blob_type`, and commands; decoding from bytes."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import orjson
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


def _check_project_id(value: str) -> str:
    if "/" in value:
        raise ValueError("must not hold a slash, for `project/user` names one user on the change topics")
    return check_id(value)


def _check_depth(value: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [value]
    for _ in range(MAX_FIELDS_DEPTH + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return value
    raise ValueError(f"must not be nested more than {MAX_FIELDS_DEPTH} levels deep")


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


Identifier = Annotated[str, AfterValidator(check_id)]
ProjectId = Annotated[str, AfterValidator(_check_project_id)]
Fields = Annotated[dict[str, Any], AfterValidator(_check_depth)]
UtcDatetime = Annotated[datetime, BeforeValidator(_check_is_text), AfterValidator(_to_utc)]


class WireModel(BaseModel):
    """Frozen; keys that we do not know are ignored, so that producers may carry their own."""

    # Inputs hold what users said, and an error's text may be logged.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null", hide_input_in_errors=True)


class ChatMessage(WireModel):
    role: Literal["user", "assistant"]
    content: str
    alias: str | None = None
    # Free text, as in Memobase ("Year 32637" is fine); the blob's own time counts.
    created_at: str | None = None


class ChatData(WireModel):
    messages: Annotated[Sequence[ChatMessage], Field(min_length=1)]


class SummaryData(WireModel):
    summary: str


class DocData(WireModel):
    content: str


class CodeData(WireModel):
    content: str
    language: str | None = None


class TranscriptLine(WireModel):
    content: str
    start_timestamp_in_seconds: float
    # The odd name is Memobase's.
    end_time_timestamp_in_seconds: float | None = None
    speaker: str | None = None


class TranscriptData(WireModel):
    transcripts: Annotated[Sequence[TranscriptLine], Field(min_length=1)]


class ImageData(WireModel):
    url: str | None = None
    base64: str | None = None


class BlobBase(WireModel):
    """The envelope shared by all blob types. A `created_at` without a zone is read as UTC."""

    v: int = RECORD_VERSION
    id: Identifier | None = None
    project_id: ProjectId = DEFAULT_PROJECT_ID
    user_id: Identifier
    created_at: UtcDatetime | None = None
    session_id: str | None = None
    fields: Fields | None = None

    def content(self) -> dict[str, Any]:
        """The normalised blob without ids and version: what a unit carries and the content hash is taken of."""
        return self.model_dump(mode="json", exclude={"v", "id", "project_id", "user_id"}, exclude_none=True)

    def content_hash(self) -> str:
        """The hash that tells a duplicate (same id, same hash) from a conflict; a time not sent is not in it."""
        return content_hash(self.content())


class ChatBlob(BlobBase):
    blob_type: Literal["chat"] = "chat"
    blob_data: ChatData


class SummaryBlob(BlobBase):
    blob_type: Literal["summary"]
    blob_data: SummaryData


class DocBlob(BlobBase):
    blob_type: Literal["doc"]
    blob_data: DocData


class CodeBlob(BlobBase):
    blob_type: Literal["code"]
    blob_data: CodeData


class TranscriptBlob(BlobBase):
    blob_type: Literal["transcript"]
    blob_data: TranscriptData


class ImageBlob(BlobBase):
    blob_type: Literal["image"]
    blob_data: ImageData


Blob = Annotated[
    ChatBlob | SummaryBlob | DocBlob | CodeBlob | TranscriptBlob | ImageBlob, Field(discriminator="blob_type")
]


class Command(WireModel):
    """An instruction that travels among a user's messages, so that it is ordered with them.

    `last_blob_id` makes a flush conditional: it does nothing if the buffer has taken a later blob meanwhile.
    """

    v: int = RECORD_VERSION
    command: Literal["flush", "forget-user"]
    id: Identifier | None = None
    project_id: ProjectId = DEFAULT_PROJECT_ID
    user_id: Identifier
    blob_type: BlobType | None = None
    last_blob_id: Identifier | None = None


_BLOB: Final[TypeAdapter[Any]] = TypeAdapter(Blob)


def decode_record(value: bytes) -> "Blob | Command":
    """Decode a value of `chat-messages`.

    Raises InvalidRecord with reason `invalid-utf8`, `invalid-json`, `newer-version`, `unknown-blob-type` or
    `invalid-record`; its detail names each field at fault and never quotes a value.
    """
    try:
        text = value.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} is no UTF-8; send JSON as UTF-8"
        raise InvalidRecord("invalid-utf8", detail) from None
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        detail = f"line {error.lineno} column {error.colno} is no JSON; send one JSON object a record"
        raise InvalidRecord("invalid-json", detail) from None
    return parse_record(document)


def parse_record(document: Any) -> "Blob | Command":
    """Validate a decoded JSON document; raises InvalidRecord as `decode_record` does."""
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
        lines.append(f"{path}: {item['msg']}")
    if len(found) > limit:
        lines.append(f"and {len(found) - limit} more")
    return "; ".join(lines)
