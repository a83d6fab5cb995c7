"""The HTTP server around the application: where it listens, and how it stops."""

import asyncio
import contextlib
import math
import socket
import sys
from collections.abc import Iterator
from typing import Final

import httptools
import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from schemas.errors import ConfigurationError
from schemas.settings import ApiSettings

BACKLOG: Final = 2048
# A caller that takes nothing of its answer for so long is cut off; otherwise its connection would stay for ever.
STALLED_MS: Final = 60_000
# Longer than balancers keep an idle connection, or they would send a request into one that is just being closed.
KEEP_ALIVE_S: Final = 75
# More than a path of 64 KiB and a Last-Event-ID of 32 KiB.
MAX_HEAD_BYTES: Final = 128 << 10

log = structlog.get_logger()


def open_socket(settings: ApiSettings) -> socket.socket:
    """A socket on `api.host` and `api.port`; raises ConfigurationError unless both are free.

    It listens at once, for two that are only bound may share a port; who calls before the start is over waits.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sys.platform == "linux":
                # Connections have it from here; elsewhere there is no such limit.
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)
            opened.bind(address)
            opened.listen(BACKLOG)
        except OSError:
            opened.close()
            raise
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigurationError(
            f"api.port {settings.port} cannot be listened on at {settings.host} ({why}): "
            "choose another, or another api.host"
        ) from error
    return opened


async def serve_app(app: ASGIApp, settings: ApiSettings, listening: socket.socket, stop: asyncio.Event) -> None:
    """Answer requests until `stop` is set, then those that are under way, for `api.shutdown_timeout_s` at most."""
    config = uvicorn.Config(
        app,
        loop="none",
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, math.ceil(settings.shutdown_timeout_s)),
    )
    server = _Server(config)
    stopping = asyncio.create_task(_stop(server, stop))
    try:
        await server.serve([listening])
    finally:
        stopping.cancel()


class _Protocol(HttpToolsProtocol):
    """The parser keeps a head, or what follows a body, however long it is, also of those who were not let in."""

    # Since it passed anything on.
    _kept_bytes = 0
    # The head of a request that asks for another protocol; Java's client does so with each of its first ones.
    _asking = b""

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._kept_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._kept_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request may have {MAX_HEAD_BYTES} bytes.")

    def _go_on(self, rest: bytes) -> None:
        """Read the request as one that asks for nothing: the parser would take its body for the other protocol."""
        head, self._asking = self._asking, b""
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def on_headers_complete(self) -> None:
        self._kept_bytes = 0
        others = [(name, value) for name, value in self.headers if name != b"upgrade"]
        if self.parser.should_upgrade() and len(others) < len(self.headers):
            lines = [b"%b %b HTTP/1.1" % (self.parser.get_method(), self.url), *(b"%b: %b" % each for each in others)]
            self._asking = b"\r\n".join([*lines, b"", b""])
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._kept_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._kept_bytes = 0
        if not self._asking:
            super().on_message_complete()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The command hears them, and sets `stop`."""
        yield


async def _stop(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True
