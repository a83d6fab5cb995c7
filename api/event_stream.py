"""Server-sent events: their form, and an answer that goes on until its reader leaves or does not read any more."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# A reader that takes nothing for so long is cut off: its connection has filled up.
SEND_TIMEOUT_S: Final = 30.0
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    # Proxies of nginx's kind would keep events back.
    "X-Accel-Buffering": "no",
}
# What ends a line in this format; in JSON none of them stands inside a string.
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")

log = structlog.get_logger()

# Opened when the answer is to begin; what it raises then is answered as any error.
OpenFrames = Callable[[], AbstractAsyncContextManager[AsyncGenerator[bytes, None]]]


def frame(event_id: str, *, event: str | None = None, data: bytes | None = None, retry_ms: int | None = None) -> bytes:
    """One event. Without `data` a reader dispatches nothing, but goes on from `event_id` when it comes back."""
    lines = [] if retry_ms is None else [b"retry: %d" % retry_ms]
    if event is not None:
        lines.append(b"event: %b" % event.encode())
    lines.append(b"id: %b" % event_id.encode())
    if data is not None:
        lines += (b"data: %b" % line for line in _LINE_END.split(data))
    return b"\n".join(lines) + b"\n\n"


class EventStream(Response):
    """Sends frames as they come; they are closed when the reader leaves."""

    media_type = "text/event-stream"

    def __init__(self, open_frames: OpenFrames) -> None:
        super().__init__(headers=_HEADERS)
        # There is no end to count.
        del self.headers["content-length"]
        self._open_frames = open_frames

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writing, leaving):
                task.cancel()
            await asyncio.wait((writing, leaving))
        if not writing.cancelled():
            writing.result()

    async def _write(self, send: Send) -> None:
        async with self._open_frames() as frames:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                async for each in frames:
                    async with asyncio.timeout(SEND_TIMEOUT_S):
                        await send({"type": "http.response.body", "body": each, "more_body": True})
            except TimeoutError:
                log.warning("stream.cut", reason="its reader takes nothing")
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
