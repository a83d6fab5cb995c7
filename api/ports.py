"""What the gateway needs of Kafka and of models, as protocols; streams and extraction implement them."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from schemas.buffer_views import BufferView
from schemas.change_feed import ChangeFilter, FeedItem
from schemas.profile_schema import ProfilePolicy
from schemas.records import Blob, Command
from schemas.sought_blobs import FoundBlob, SoughtBlob
from schemas.windows import Position, Window


class MessageLog(Protocol):
    """Writes to `chat-messages`. A call returns when all replicas hold the record.

    Raises RetryLater when the broker is away or too slow: the record may or may not be there then, so the same id is
    sent again. Raises InvalidRecord for a record that no topic takes.
    """

    async def send_blob(self, blob: Blob) -> Position:
        """With its id, project and user set."""

    async def send_command(self, command: Command) -> Position:
        """On the partition of its user, after all that was sent before."""

    async def problems(self) -> Sequence[str]:
        """What keeps it from its work now."""


class BufferQueries(Protocol):
    """Asks the worker that owns a user's partition."""

    async def view(
        self, project_id: str, user_id: str, *, past: Position | None = None, wait_s: float = 0.0
    ) -> BufferView:
        """With `past`, waits up to `wait_s` until all up to that position is decided and committed.

        Raises RetryLater during a rebalance, and where no worker answers.
        """

    async def problems(self) -> Sequence[str]:
        """What keeps it from its work now."""


class TextReader(Protocol):
    """Reads blobs back from `chat-messages`."""

    @property
    def topic(self) -> str:
        """Full name of `chat-messages`."""

    async def read(self, sought: Iterable[SoughtBlob]) -> Mapping[SoughtBlob, FoundBlob]:
        """What has become of each; it says so where the broker does not answer."""

    async def unfinished(self, project_id: str, user_id: str) -> Sequence[Window]:
        """The user's windows that extraction has not finished, and perhaps some that it just has.

        It takes a while. Raises RetryLater.
        """


class ChangeFeed(Protocol):
    """Follows the change topics."""

    def subscribe(
        self, wanted: ChangeFilter, after: str, *, follow: bool
    ) -> AbstractAsyncContextManager[AsyncGenerator[FeedItem, None]]:
        """The items of a stream that begins at `after`: a cursor, `earliest` or `latest`; it ends now unless `follow`.

        Raises InvalidCursor, PositionGone, TooManyReaders, RetryLater.
        """

    def stop(self) -> None:
        """Let every stream end with its position."""


class Policies(Protocol):
    """What holds for a project: the server's settings and its own configuration."""

    async def policy_of(self, project_id: str) -> ProfilePolicy:
        """Raises RetryLater when Postgres is away and nothing fresh is known."""
