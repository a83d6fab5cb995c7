"""Answers the gateway's questions about users' buffers, over HTTP within the deployment: ids and hashes, never text."""

import asyncio
import hmac
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol

from aiohttp import web
from pydantic import Field, ValidationError
from yarl import URL

from schemas.buffer_views import BufferView
from schemas.errors import ConfigurationError, RetryLater
from schemas.records import Identifier, ProjectId, WireModel
from schemas.settings import KafkaSettings, WorkerSettings
from streams.buffer_memory import User
from streams.listeners import bootstrap_addresses

VIEW_PATH: Final = "/v1/buffer/view"
MAX_WAIT_S: Final = 20.0
MAX_BODY_BYTES: Final = 1 << 16
SHUTDOWN_TIMEOUT_S: Final = 1.0
MISDIRECTED: Final = 421
EVERY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})


class Question(WireModel):
    """Whose buffer; with `past`, once the record at that offset is decided, or `wait_s` have passed."""

    project_id: ProjectId
    user_id: Identifier
    past: int | None = None
    wait_s: float = Field(0.0, ge=0.0, le=MAX_WAIT_S)


class Answer(WireModel):
    """A view (status 200), where else to ask (421: `owner` is a worker's url), or why there is none now (503)."""

    partitions: int | None = None
    view: BufferView | None = None
    owner: str | None = None
    reason: str | None = None


class NotTheOwner(Exception):
    """Another worker owns the user's partition; `url` is None while nobody knows which."""

    def __init__(self, url: str | None) -> None:
        super().__init__(url)
        self.url = url


class Buffers(Protocol):
    """The buffers of the partitions that this worker owns."""

    @property
    def partitions(self) -> int: ...

    async def view(self, user: User, past: int | None, wait_s: float) -> BufferView:
        """Raises NotTheOwner or RetryLater."""
        ...


class BufferService:
    """`url` is where other machines reach it, `token` what they must know."""

    def __init__(self) -> None:
        self.url = ""
        self.token = secrets.token_urlsafe(32)
        self._buffers: Buffers | None = None

    @contextmanager
    def answering(self, buffers: Buffers) -> Iterator[None]:
        """Answer from these while the block runs; before and after it nothing is known."""
        self._buffers = buffers
        try:
            yield
        finally:
            self._buffers = None

    async def answer(self, request: web.Request) -> web.Response:
        """One question."""
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
            return _response(401, Answer(reason="the token is not this worker's"))
        try:
            question = Question.model_validate_json(await request.read())
        except ValidationError:
            return _response(400, Answer(reason="the question does not fit"))
        buffers = self._buffers
        if buffers is None:
            return _response(503, Answer(reason="the worker is starting or stopping"))
        user = User(question.project_id, question.user_id)
        try:
            view = await buffers.view(user, question.past, question.wait_s)
        except NotTheOwner as error:
            return _response(MISDIRECTED, Answer(partitions=buffers.partitions, owner=error.url))
        except RetryLater as error:
            return _response(503, Answer(partitions=buffers.partitions, reason=str(error)))
        return _response(200, Answer(partitions=buffers.partitions, view=view))


@asynccontextmanager
async def serve_buffers(settings: WorkerSettings, kafka: KafkaSettings) -> AsyncIterator[BufferService]:
    """Listen on `worker.internal_host` while the block runs, on a port that is free unless one is set.

    Raises ConfigurationError when the port cannot be had.
    """
    service = BufferService()
    application = web.Application(client_max_size=MAX_BODY_BYTES)
    application.router.add_post(VIEW_PATH, service.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.internal_host, settings.internal_port or 0).start()
        except OSError as error:
            raise ConfigurationError(
                f"worker.internal_port {settings.internal_port} cannot be listened on at {settings.internal_host} "
                f"({type(error).__name__}): choose another, or another worker.internal_host"
            ) from error
        port = runner.addresses[0][1]
        url = settings.internal_url or _url(await _reachable(settings.internal_host, kafka), port)
        # In the one form that Faust, too, tells the other workers.
        service.url = str(URL(url)).rstrip("/")
        yield service
    finally:
        await runner.cleanup()


async def _reachable(host: str, kafka: KafkaSettings) -> str:
    """The address itself, or for all addresses the one by which this machine reaches the broker."""
    if host not in EVERY_ADDRESS:
        return host
    broker = bootstrap_addresses(kafka)[0]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(broker.host, broker.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        # Sends nothing: only the route is looked up.
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ConfigurationError(
            f"worker.internal_host is {host}, and this machine's own address cannot be found "
            f"({type(error).__name__}): set worker.internal_url"
        ) from error


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _response(status: int, answer: Answer) -> web.Response:
    return web.Response(status=status, body=answer.model_dump_json(exclude_none=True), content_type="application/json")
