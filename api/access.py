"""Who is let in, and to which project: by the root token, or by a token of the project, as they hold now."""

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.errors import ApiError
from schemas.errors import RetryLater
from schemas.records import DEFAULT_PROJECT_ID, ProjectId
from storage.errors import translated
from storage.listening import listen
from storage.project_tokens import CHANNEL, ProjectAccess, project_of, read_access

log = structlog.get_logger()

PROJECT_HEADER: Final = "x-memostream-project"
SCHEME: Final = "Bearer "
UNKNOWN: Final = "the token is not known"
# A change comes by NOTIFY; one whose notification was lost is seen this late.
KEEP_S: Final = 5.0
# While Postgres does not answer, what was known of a project goes on for so long: inserts need Kafka alone.
GRACE_S: Final = 60.0
# How long a caller waits for fresh knowledge where older is at hand.
PATIENCE_S: Final = 0.25
MAX_PROJECTS: Final = 4096
# Of projects that have no token, which anybody can name.
MAX_STRANGERS: Final = 1024
# Connections that callers who are not let in yet can take.
MAX_LOOKS: Final = 4

# Raises RetryLater when Postgres is away.
ReadAccess = Callable[[str], Awaitable[ProjectAccess]]


@dataclass(frozen=True, slots=True)
class Access:
    """Where a caller was let in."""

    project_id: str
    is_root: bool


class Authenticator(Protocol):
    """What the gateway asks at its door."""

    async def authenticate(self, authorization: str | None, wanted_project: str | None) -> Access: ...


def stored_in(engine: AsyncEngine) -> ReadAccess:
    async def read(project_id: str) -> ProjectAccess:
        with translated("looking up a token"):
            async with engine.connect() as connection:
                return await read_access(connection, project_id)

    return read


class Gatekeeper:
    """Takes the root token, which may choose a project by a header, and the tokens of projects.

    With `is_open` every caller is root. Projects' tokens are kept in memory; `follow` keeps them true.
    """

    def __init__(
        self,
        read: ReadAccess,
        root_token: str | None,
        *,
        is_open: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root_token = None if root_token is None else root_token.encode()
        self._is_open = is_open
        self._projects = ProjectBook(read, monotonic)

    async def authenticate(self, authorization: str | None, wanted_project: str | None) -> Access:
        """Raises ApiError (401, 403, 400), and RetryLater when Postgres is away and the token is not known yet."""
        if self._is_open:
            return Access(_chosen(wanted_project), is_root=True)
        if authorization is None or not authorization.startswith(SCHEME):
            raise ApiError(401, "a token is missing: send the header `Authorization: Bearer <token>`")
        token = authorization.removeprefix(SCHEME).strip()
        if not token.isascii():
            raise ApiError(401, UNKNOWN)
        if self._root_token is not None and hmac.compare_digest(token.encode(), self._root_token):
            return Access(_chosen(wanted_project), is_root=True)
        project_id = project_of(token)
        known = access = None
        if project_id is not None:
            access = await self._projects.access_to(project_id)
            known = access.find(token)
        if project_id is None or access is None or known is None:
            raise ApiError(401, UNKNOWN)
        if known.is_revoked:
            log.warning("access.refused", project_id=project_id, token_id=known.token_id, reason="revoked")
            raise ApiError(401, "the token was revoked")
        if access.is_suspended:
            log.warning("access.refused", project_id=project_id, token_id=known.token_id, reason="suspended")
            # With status 401, as Memobase answers it.
            raise ApiError(401, "403: the project is suspended")
        if wanted_project is not None and _chosen(wanted_project) != project_id:
            raise ApiError(403, "only the root token may choose a project by X-Memostream-Project")
        return Access(project_id, is_root=False)

    async def follow(self, engine: AsyncEngine) -> None:
        """Until cancelled: forget what is known of a project as soon as its tokens change."""
        await listen(engine, CHANNEL, self._projects.forget, self._projects.forget_all)


@dataclass(frozen=True, slots=True)
class _Known:
    access: ProjectAccess
    read_at: float


class ProjectBook:
    """What is known of projects' tokens: read when it is asked for, by one reader a project and few in all."""

    def __init__(self, read: ReadAccess, monotonic: Callable[[], float]) -> None:
        self._read = read
        self._monotonic = monotonic
        # The one that was asked for the longest ago comes first.
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._strangers: OrderedDict[str, _Known] = OrderedDict()
        self._readers: dict[str, asyncio.Task[ProjectAccess]] = {}
        # Also those that nobody may join any more; the loop itself would let go of them.
        self._running: set[asyncio.Task[ProjectAccess]] = set()
        self._looks = asyncio.Semaphore(MAX_LOOKS)
        # Grows whenever something is forgotten: what was read before must not be kept after.
        self._epoch = 0

    async def access_to(self, project_id: str) -> ProjectAccess:
        """Raises RetryLater when Postgres is away and too little is known."""
        book = self._known if project_id in self._known else self._strangers
        known = book.get(project_id)
        age_s = 0.0 if known is None else self._monotonic() - known.read_at
        if known is not None and age_s < KEEP_S:
            book.move_to_end(project_id)
            return known.access
        reader = self._reader(project_id)
        if known is None or age_s >= GRACE_S or not known.access.tokens:
            return await asyncio.shield(reader)
        await asyncio.wait((reader,), timeout=PATIENCE_S)
        if not reader.done():
            return known.access
        try:
            return reader.result()
        except RetryLater:
            return known.access

    def forget(self, project_id: str) -> None:
        """Its tokens have changed."""
        self._epoch += 1
        # Who asks from now on must not join a reader that looked before.
        self._readers.pop(project_id, None)
        self._known.pop(project_id, None)
        self._strangers.pop(project_id, None)

    def forget_all(self) -> None:
        """Changes may have passed unseen."""
        self._epoch += 1
        self._readers.clear()
        self._known.clear()
        self._strangers.clear()

    def _reader(self, project_id: str) -> asyncio.Task[ProjectAccess]:
        reader = self._readers.get(project_id)
        if reader is None:
            reader = self._readers[project_id] = asyncio.create_task(self._look(project_id))
            self._running.add(reader)
            reader.add_done_callback(lambda done: self._finish(project_id, done))
        return reader

    def _finish(self, project_id: str, reader: asyncio.Task[ProjectAccess]) -> None:
        self._running.discard(reader)
        if self._readers.get(project_id) is reader:
            del self._readers[project_id]
        if not reader.cancelled():
            # Whoever waits still gets it; it may be nobody.
            reader.exception()

    async def _look(self, project_id: str) -> ProjectAccess:
        async with self._looks:
            epoch, read_at = self._epoch, self._monotonic()
            access = await self._read(project_id)
        if epoch == self._epoch:
            book, most = (self._known, MAX_PROJECTS) if access.tokens else (self._strangers, MAX_STRANGERS)
            self._known.pop(project_id, None)
            self._strangers.pop(project_id, None)
            book[project_id] = _Known(access, read_at)
            while len(book) > most:
                book.popitem(last=False)
        return access


_PROJECT_ID: Final = TypeAdapter[str](ProjectId)


def _chosen(header: str | None) -> str:
    """The project that the header names, percent-encoded where it is not ASCII."""
    if header is None:
        return DEFAULT_PROJECT_ID
    try:
        return _PROJECT_ID.validate_python(unquote_to_bytes(header.strip().encode("ascii")).decode())
    except (UnicodeError, ValidationError):
        raise ApiError(400, "X-Memostream-Project: must be the id of a project, percent-encoded") from None
