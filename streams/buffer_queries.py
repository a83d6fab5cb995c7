"""The gateway's side of buffer queries: finds the worker that owns a user's partition, and asks it in bounded time."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import aiohttp
import structlog
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.buffer_views import BufferView
from schemas.errors import ConfigurationError, RetryLater
from schemas.settings import KafkaSettings
from schemas.windows import Position
from storage.errors import translated
from storage.workers import RegisteredWorker, read_workers
from streams.buffer_service import MAX_WAIT_S, MISDIRECTED, VIEW_PATH, Answer, Question
from streams.topics import partition_for

# Beyond the wait that was asked for: a call ends so late at the latest, and a worker that takes longer is frozen.
BOUND_S: Final = 5.0
ANSWER_S: Final = 3.0
# One poll: a frozen worker is noticed, and another asked, after this long.
POLL_S: Final = 5.0
# Between questions while a partition changes hands and the caller still waits.
RETRY_S: Final = 0.25
# A worker that did not answer is left alone for a moment, so that not everybody waits for it.
SILENT_S: Final = 2.0
KEEP_WORKERS_S: Final = 2.0
READ_WORKERS_S: Final = 2.0
RETRY_AFTER_S: Final = 1.0
CHANGING_HANDS: Final = "the partition of this user is changing hands"

log = structlog.get_logger()


@asynccontextmanager
async def buffer_queries(engine: AsyncEngine, kafka: KafkaSettings) -> AsyncIterator["WorkerBufferQueries"]:
    """Asks the workers that the registry names; needs none of them, nor Postgres, to begin."""
    # Each waiting call holds a connection, and how many may wait is the gateway's to limit.
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, raise_for_status=False) as session:
        yield WorkerBufferQueries(HttpAsker(session), Directory(engine, kafka.topic_prefix), kafka.partitions)


class NoAnswer(Exception):
    """No worker of ours has answered there in time."""


class Asker(Protocol):
    """Puts a question to one worker."""

    async def __call__(self, worker: RegisteredWorker, question: Question) -> Answer:
        """Raises NoAnswer."""
        ...


class Workers(Protocol):
    """The workers with buffers, by url."""

    async def __call__(self, *, newer_than_s: float) -> Mapping[str, RegisteredWorker]:
        """As they were so long ago at most. Raises RetryLater where nobody can tell."""
        ...


class HttpAsker:
    """With the token that the worker has put into the registry."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def __call__(self, worker: RegisteredWorker, question: Question) -> Answer:
        timeout = aiohttp.ClientTimeout(total=question.wait_s + ANSWER_S)
        try:
            async with self._session.post(
                f"{worker.url}{VIEW_PATH}",
                data=question.model_dump_json(exclude_none=True),
                headers={"Authorization": f"Bearer {worker.token}", "Content-Type": "application/json"},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if response.status not in (200, MISDIRECTED, 503):
                    # 401: another process has the address now, with a token of its own.
                    raise NoAnswer(f"status {response.status}")
                return Answer.model_validate_json(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, ValidationError) as error:
            raise NoAnswer(type(error).__name__) from error


class Directory:
    """The workers with buffers as the registry has them; while Postgres is away, as it had them last."""

    def __init__(self, engine: AsyncEngine, topic_prefix: str) -> None:
        self._engine = engine
        self._topic_prefix = topic_prefix
        self._workers: dict[str, RegisteredWorker] = {}
        self._refusal: str | None = None
        self._read_at_s = float("-inf")
        self._reading = asyncio.Lock()

    async def __call__(self, *, newer_than_s: float) -> Mapping[str, RegisteredWorker]:
        """Raises RetryLater when Postgres is away and nobody is known."""
        async with self._reading:
            if asyncio.get_running_loop().time() - self._read_at_s >= newer_than_s:
                await self._read()
        if not self._workers and self._refusal is not None:
            raise RetryLater(self._refusal, RETRY_AFTER_S)
        return self._workers

    async def _read(self) -> None:
        refusal = None
        try:
            with translated("reading the registry of workers"):
                async with asyncio.timeout(READ_WORKERS_S), self._engine.connect() as connection:
                    found = await read_workers(connection, self._topic_prefix)
            # Where a worker has come back at the address of one that was killed, the newer counts.
            self._workers = {worker.url: worker for worker in reversed(found) if worker.url and worker.token}
        except (RetryLater, ConfigurationError) as error:
            refusal = str(error)
            if self._refusal is None:
                log.warning("buffer.registry_unread", reason=refusal)
        self._refusal = refusal
        # Also after a failure: who comes next must not wait for the same again.
        self._read_at_s = asyncio.get_running_loop().time()


class WorkerBufferQueries:
    """Asks over HTTP. A worker answers for its own partitions only, and names the owner of others; what the registry
    says is no more than whom to begin with."""

    def __init__(self, ask: Asker, workers: Workers, partitions: int) -> None:
        self._ask = ask
        self._workers = workers
        # A guess until a worker has told; a wrong one costs a question more.
        self._partitions = partitions
        self._owners: dict[int, str] = {}
        self._silent_until_s: dict[str, float] = {}

    async def view(
        self, project_id: str, user_id: str, *, past: Position | None = None, wait_s: float = 0.0
    ) -> BufferView:
        """What is buffered of a user, as its owner has committed it, and was still the owner when it answered.

        With `past`, once the record there is decided, or after `wait_s`: `has_passed` of the answer tells which. Raises
        RetryLater while the partition has no owner that answers, `wait_s` and BOUND_S after the call at the latest.
        """
        try:
            async with asyncio.timeout(wait_s + BOUND_S):
                return await self._view(project_id, user_id, past, wait_s)
        except TimeoutError as error:
            raise RetryLater("buffer: no worker has answered in time", RETRY_AFTER_S) from error

    async def _view(self, project_id: str, user_id: str, past: Position | None, wait_s: float) -> BufferView:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        while True:
            left_s = max(0.0, until_s - loop.time())
            question = Question(
                project_id=project_id,
                user_id=user_id,
                past=None if past is None else past.offset,
                wait_s=min(left_s, POLL_S, MAX_WAIT_S),
            )
            try:
                view = await self._ask_owner(question)
            except RetryLater:
                if until_s - loop.time() <= RETRY_S:
                    raise
                await asyncio.sleep(RETRY_S)
                continue
            if past is None or view.has_passed(past) or loop.time() >= until_s:
                return view

    async def problems(self) -> Sequence[str]:
        """Why nobody could be asked now; nothing while a worker with buffers is registered."""
        try:
            workers = await self._workers(newer_than_s=KEEP_WORKERS_S)
        except RetryLater as error:
            return (str(error),)
        return () if workers else ("no worker with the role buffer is registered",)

    async def _ask_owner(self, question: Question) -> BufferView:
        loop = asyncio.get_running_loop()
        asked: set[str] = set()
        reason = "no worker with the role buffer answers"
        next_url = self._owners.get(self._partition_of(question))
        while (worker := await self._choose(next_url, asked)) is not None:
            url = str(worker.url)
            asked.add(url)
            try:
                answer = await self._ask(worker, question)
            except NoAnswer as error:
                if not self._is_silent(url):
                    log.warning("buffer.question_unanswered", worker=worker.name, reason=str(error))
                self._silent_until_s[url] = loop.time() + SILENT_S
                next_url = None
                continue
            self._partitions = answer.partitions or self._partitions
            if answer.view is not None:
                self._owners[self._partition_of(question)] = url
                return answer.view
            reason = answer.reason or CHANGING_HANDS
            next_url = answer.owner
            if next_url is not None and (next_url in asked or self._is_silent(next_url)):
                break
        self._owners.pop(self._partition_of(question), None)
        raise RetryLater(f"buffer: {reason}", RETRY_AFTER_S)

    async def _choose(self, url: str | None, asked: set[str]) -> RegisteredWorker | None:
        """The worker at `url`, or else any that has not been asked; None if there is none left that may answer."""
        workers = await self._workers(newer_than_s=KEEP_WORKERS_S)
        if url is not None and url not in workers:
            # A worker that has just come is named by others before the registry is read again.
            workers = await self._workers(newer_than_s=RETRY_S)
        left = {place: worker for place, worker in workers.items() if place not in asked and not self._is_silent(place)}
        if url is not None and url in left:
            return left[url]
        return next(iter(left.values()), None)

    def _is_silent(self, url: str) -> bool:
        return self._silent_until_s.get(url, 0.0) > asyncio.get_running_loop().time()

    def _partition_of(self, question: Question) -> int:
        return partition_for(question.user_id.encode(), self._partitions)
