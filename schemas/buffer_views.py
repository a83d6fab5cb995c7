"""What the owner of a partition tells of one user's buffer: what is in it, and what it has lately become."""

from uuid import UUID

from schemas.records import BlobType, WireModel
from schemas.windows import CloseReason, Position


class BufferedBlob(WireModel):
    """A blob that waits for its window to close; its record lies at `position` in `chat-messages`."""

    blob_id: str
    blob_type: BlobType
    content_hash: str
    position: Position
    origin: Position | None = None
    token_count: int
    occurred_at_ms: int
    recorded_at_ms: int


class ClosedBlob(WireModel):
    """A blob in a window, as the record at `offset` of the view's partition brought it."""

    blob_id: str
    content_hash: str
    offset: int


class ClosedWindow(WireModel):
    """A window that the record at `closed_by` closed; a blob that was split is in several."""

    window_id: UUID
    blob_type: BlobType
    reason: CloseReason
    closed_by: int
    blobs: tuple[ClosedBlob, ...]


class ParkedRecord(WireModel):
    """A record that the buffer has put into `dead-letters`; `reason` is a word of `audit`."""

    offset: int
    blob_id: str | None
    reason: str


class BufferView(WireModel):
    """One user's buffer at a moment at which the owner of the partition certainly was its owner.

    All records below `next_offset` are decided, by transactions that no other worker can undo. `blobs` is complete,
    the oldest first. `closed` and `parked` (the oldest first, too) are what this owner remembers: a new owner begins
    with none, so what is in neither of the three is to be looked up in Postgres.
    `is_purged` where the owner's copy on disk holds nothing any more that a forget below `next_offset` has removed.
    """

    partition: int
    next_offset: int
    is_purged: bool = True
    blobs: tuple[BufferedBlob, ...] = ()
    closed: tuple[ClosedWindow, ...] = ()
    parked: tuple[ParkedRecord, ...] = ()

    def has_passed(self, position: Position) -> bool:
        """Whether the record there is decided; `position` is one of this user's in `chat-messages`."""
        return position.offset < self.next_offset

    def buffered(self, blob_id: str) -> BufferedBlob | None:
        return next((blob for blob in self.blobs if blob.blob_id == blob_id), None)

    def windows_of(self, blob_id: str) -> tuple[UUID, ...]:
        """The windows that hold pieces of a blob, as far as they are remembered."""
        return tuple(
            window.window_id for window in self.closed if any(blob.blob_id == blob_id for blob in window.blobs)
        )

    def windows_closed_by(self, position: Position) -> tuple[UUID, ...]:
        """The windows that the record there has closed, as far as they are remembered."""
        return tuple(window.window_id for window in self.closed if window.closed_by == position.offset)

    def refusal_of(self, position: Position) -> str | None:
        """Why the record there was put into `dead-letters`; None if it was not, or is not remembered."""
        return next((parked.reason for parked in self.parked if parked.offset == position.offset), None)
