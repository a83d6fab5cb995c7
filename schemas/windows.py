"""Records of `extraction-windows`: windows of units, and commands on their way to the extraction agent."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, NewType
from uuid import UUID

import orjson
from pydantic import ValidationError

from schemas.errors import MemostreamError, NewerVersion
from schemas.records import BlobType, Command, WireModel, describe_validation_error

WINDOW_VERSION: Final = 1

CloseReason = Literal["tokens", "size", "age", "idle", "flush"]
UnitKey = tuple[str, int, int]
MessageId = NewType("MessageId", str)


class Position(WireModel):
    """Where a record lies. `timestamp_ms` is Kafka's, Unix epoch milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class Unit(WireModel):
    """A piece of a blob: whole (`message_index` and `part` are null), one message of it, or a part of one message.

    `content` is the blob without its ids: `blob_type`, `blob_data` (of this piece only), `fields`, `session_id` and
    `created_at` as sent. `content_hash` is that of the whole blob. `origin` is set where the record was
    forwarded, redriven or ingested from another position.
    """

    blob_id: str
    message_index: int | None = None
    part: int | None = None
    content_hash: str
    token_count: int
    occurred_at_ms: int
    recorded_at_ms: int
    position: Position
    origin: Position | None = None
    content: dict[str, Any]

    @property
    def key(self) -> UnitKey:
        """(blob id, message index, part), with -1 where the unit is not split that far."""
        return (
            self.blob_id,
            -1 if self.message_index is None else self.message_index,
            -1 if self.part is None else self.part,
        )

    @property
    def occurred_at(self) -> datetime:
        return datetime.fromtimestamp(self.occurred_at_ms / 1000, UTC)

    @property
    def first_position(self) -> Position:
        """Where the producer put it: the origin if there is one, else the position in `chat-messages`."""
        return self.origin or self.position


class Window(WireModel):
    """One user's units of one blob type that are extracted together."""

    v: int = WINDOW_VERSION
    kind: Literal["window"] = "window"
    window_id: UUID
    project_id: str
    user_id: str
    blob_type: BlobType
    reason: CloseReason
    token_count: int
    units: Sequence[Unit]


class WindowCommand(WireModel):
    """A command, sent after the windows that it closed; its ledger row tells a waiting flush that it is done."""

    v: int = WINDOW_VERSION
    kind: Literal["command"] = "command"
    command: Command
    command_id: str
    position: Position
    origin: Position | None = None
    window_ids: Sequence[UUID] = ()

    @property
    def project_id(self) -> str:
        return self.command.project_id

    @property
    def user_id(self) -> str:
        return self.command.user_id


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
