"""Records of `extraction-windows`: windows of units, and commands on their way to the extraction agent."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NewType, Protocol
from uuid import UUID

import orjson
from pydantic import Field, ValidationError

from schemas.errors import MemostreamError, NewerVersion
from schemas.records import BlobType, Command, Long, WireModel, describe_validation_error
from schemas.trace import NO_TRACE, Trace

WINDOW_VERSION: Final = 1

CloseReason = Literal["tokens", "size", "age", "idle", "flush"]
UnitKey = tuple[str, int, int]
MessageId = NewType("MessageId", str)
WindowVersion = Annotated[
    int, Field(description="Version of the record's format.", json_schema_extra={"const": WINDOW_VERSION})
]


class Position(WireModel):
    """Where a record lies. `timestamp_ms` is Kafka's, Unix epoch milliseconds."""

    topic: str = Field(description="Topic.")
    partition: int = Field(description="Partition.")
    offset: Long = Field(description="Offset.")
    timestamp_ms: Long = Field(description="Kafka's timestamp of the record: Unix time in milliseconds.")


class Traced(WireModel):
    """Keeps the trace context of the record that it came in, for what comes of it."""

    traceparent: str | None = Field(None, description="W3C trace context of the record that it came in.")
    tracestate: str | None = Field(None, description="What tracing systems added to it.")

    @property
    def trace(self) -> Trace:
        return Trace(self.traceparent, self.tracestate)


class Unit(Traced):
    """A piece of a blob: whole (`message_index` and `part` are null), one message of it, or a part of one message.

    `content` is the blob without its ids: `blob_type`, `blob_data` (of this piece only), `fields`, `session_id` and
    `created_at` as sent. `content_hash` is that of the whole blob. `origin` is set where the record was
    forwarded, redriven or ingested from another position.
    """

    blob_id: str = Field(description="Id of the blob: the producer's, or one that is derived from the position.")
    message_index: int | None = Field(None, description="Which message of the blob, where it was split.")
    part: int | None = Field(None, description="Which part of the message, where that was split.")
    content_hash: str = Field(description="SHA-256 of the whole blob in normal form.")
    token_count: int = Field(description="Tokens of this piece.")
    occurred_at_ms: Long = Field(description="When it was said: Unix time in milliseconds.")
    recorded_at_ms: Long = Field(description="When Kafka took it: Unix time in milliseconds.")
    position: Position = Field(description="Where it lies in chat-messages.")
    origin: Position | None = Field(
        None, description="Where the producer put it, if it was forwarded, redriven or ingested."
    )
    content: dict[str, Any] = Field(
        description="The blob of this piece, without its ids: blob_type, blob_data, fields, session_id, created_at."
    )

    @property
    def key(self) -> UnitKey:
        return unit_key(self.blob_id, self.message_index, self.part)

    @property
    def occurred_at(self) -> datetime:
        return datetime.fromtimestamp(self.occurred_at_ms / 1000, UTC)

    @property
    def first_position(self) -> Position:
        """Where the producer put it: the origin if there is one, else the position in `chat-messages`."""
        return self.origin or self.position


class Window(WireModel):
    """One user's units of one blob type that are extracted together."""

    v: WindowVersion = WINDOW_VERSION
    kind: Literal["window"] = Field("window", description="Tells a window from a command.")
    window_id: UUID = Field(description="Id of the window, derived from its units.")
    project_id: str = Field(description="Project of the user.")
    user_id: str = Field(description="The user, as the producer named them.")
    blob_type: BlobType = Field(description="Type of all blobs in it.")
    reason: CloseReason = Field(description="Why it closed.")
    token_count: int = Field(description="Tokens of all units.")
    units: Sequence[Unit] = Field(description="What it holds, in the user's order.")


class WindowCommand(Traced):
    """A command, sent after the windows that it closed; its ledger row tells a waiting flush that it is done."""

    v: WindowVersion = WINDOW_VERSION
    kind: Literal["command"] = Field("command", description="Tells a command from a window.")
    command: Command = Field(description="The command as it was sent.")
    command_id: str = Field(description="Its id: the sender's, or one that is derived from the position.")
    position: Position = Field(description="Where it lies in chat-messages.")
    origin: Position | None = Field(None, description="Where the producer put it, if it was forwarded or redriven.")
    window_ids: Sequence[UUID] = Field((), description="Windows that it closed; they come before it.")

    @property
    def project_id(self) -> str:
        return self.command.project_id

    @property
    def user_id(self) -> str:
        return self.command.user_id


def unit_key(blob_id: str, message_index: int | None, part: int | None) -> UnitKey:
    """(blob id, message index, part), with -1 where a unit is not split that far."""
    return blob_id, -1 if message_index is None else message_index, -1 if part is None else part


class Recorded(Protocol):
    """A unit, in whichever form."""

    @property
    def recorded_at_ms(self) -> int: ...

    @property
    def trace(self) -> Trace: ...


def newest_trace(units: Iterable[Recorded]) -> Trace:
    """The trace of the newest unit that stands in one; of equally old ones the last."""
    traced = [unit for unit in units if unit.trace]
    # Not by the producer's own time: a backfill tells old things in new records.
    return max(reversed(traced), key=lambda unit: unit.recorded_at_ms).trace if traced else NO_TRACE


def sessions_of(units: Iterable[Unit], message_ids: Collection[str]) -> list[str]:
    """The sessions that these messages were sent in, each once, in the units' order."""
    blob_ids = {identifier.rpartition("/")[0] for identifier in message_ids}
    named = (unit.content.get("session_id") for unit in units if unit.blob_id in blob_ids)
    return list(dict.fromkeys(name for name in named if name))


def encode_window(
    identifier: UUID,
    project_id: str,
    user_id: str,
    blob_type: str,
    reason: CloseReason,
    token_count: int,
    units: Sequence[Mapping[str, Any]],
) -> bytes:
    """A window whose units are documents already, as they were validated and written before."""
    return orjson.dumps(
        {
            "v": WINDOW_VERSION,
            "kind": "window",
            "window_id": identifier,
            "project_id": project_id,
            "user_id": user_id,
            "blob_type": blob_type,
            "reason": reason,
            "token_count": token_count,
            "units": units,
        }
    )


def decode_window(value: bytes) -> Window | WindowCommand:
    """Decode a value that only memostream writes.

    Raises NewerVersion for a newer `v`, and MemostreamError for anything else that does not fit: both end the worker,
    since a window that is skipped would be lost.
    """
    try:
        document = orjson.loads(value)
        if document.get("v", 1) > WINDOW_VERSION:
            raise NewerVersion(
                f"extraction-windows holds v {document['v']}, this worker reads up to {WINDOW_VERSION}: upgrade it"
            )
        model = WindowCommand if document.get("kind") == "command" else Window
        return model.model_validate(document)
    except ValidationError as error:
        raise MemostreamError(f"extraction-windows: {describe_validation_error(error)}") from None
    except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
        raise MemostreamError(f"extraction-windows holds a record that is no window: {type(error).__name__}") from None
