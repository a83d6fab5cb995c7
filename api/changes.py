"""A stream of changes as server-sent events, for as long as its token holds."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from api.access import PROJECT_HEADER, Authenticator
from api.errors import ApiError
from api.event_stream import frame
from schemas.change_feed import Change, Ended, EndReason, FeedItem
from schemas.errors import RetryLater

# A token that was revoked is good for so much longer, also while nothing comes. Looking at it takes no query.
CHECK_S: Final = 1.0
# How long a browser waits before it comes back.
RETRY_MS: Final = 2_000
KEEP_ALIVE: Final = b": keep-alive\n"

END_DETAILS: Final[Mapping[EndReason, str]] = {
    "limit": "as many changes were sent as were asked for",
    "end": "all changes up to now were sent",
    "stopping": "the gateway stops; come back with the last id",
    "too-slow": "the reader fell too far behind; come back with the last id",
    "turn": "others wait to read older changes; come back with the last id",
    "gone": "what follows is not kept any more; read the profiles anew, then go on from latest",
    "revoked": "the token does not hold any more",
    "unavailable": "the broker or the database is away; come back with the last id",
}


@dataclass(frozen=True)
class Doorkeeper:
    """Looks at a stream's token again and again."""

    gatekeeper: Authenticator
    headers: Mapping[str, str]
    check_s: float = CHECK_S

    async def watched(self, items: AsyncIterator[FeedItem]) -> AsyncGenerator[FeedItem, None]:
        """The items, up to the moment at which the token no longer opens them."""
        cursor = ""
        watch = asyncio.create_task(self._watch())
        coming: asyncio.Future[FeedItem] | None = None
        try:
            while True:
                coming = asyncio.ensure_future(anext(items))
                await asyncio.wait((coming, watch), return_when=asyncio.FIRST_COMPLETED)
                if watch.done() and cursor:
                    yield Ended(watch.result(), cursor)
                    return
                try:
                    item = await coming
                except StopAsyncIteration:
                    return
                cursor = item.cursor
                yield item
        finally:
            await _end_all(watch, coming)

    async def _watch(self) -> EndReason:
        """Return once the token holds no more."""
        while True:
            await asyncio.sleep(self.check_s)
            if (reason := await self._refusal()) is not None:
                return reason

    async def _refusal(self) -> EndReason | None:
        try:
            await self.gatekeeper.authenticate(self.headers.get("authorization"), self.headers.get(PROJECT_HEADER))
        except ApiError:
            return "revoked"
        except RetryLater:
            return "unavailable"
        return None


async def framed(items: AsyncIterator[FeedItem], limit: int | None) -> AsyncGenerator[bytes, None]:
    """The items as events; ends after `limit` changes."""
    sent = 0
    first = True
    async for item in items:
        if isinstance(item, Change):
            yield frame(item.cursor, event=item.topic, data=item.document)
            sent += 1
            if sent == limit:
                yield _end("limit", item.cursor)
                return
        elif isinstance(item, Ended):
            yield _end(item.reason, item.cursor)
            return
        elif first:
            yield frame(item.cursor, retry_ms=RETRY_MS)
        else:
            yield KEEP_ALIVE + frame(item.cursor)
        first = False


def _end(reason: EndReason, cursor: str) -> bytes:
    return frame(cursor, event="end", data=orjson.dumps({"reason": reason, "detail": END_DETAILS[reason]}))


async def _end_all(*tasks: asyncio.Future[Any] | None) -> None:
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
    for task in running:
        if not task.cancelled():
            # Whatever became of what nobody waits for any more.
            task.exception()
