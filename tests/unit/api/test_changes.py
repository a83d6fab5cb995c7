"""Changes as server-sent events: their form, their end, and who may still read them."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import pytest
from starlette.types import Message

from api.access import Access
from api.changes import END_DETAILS, Doorkeeper, framed
from api.errors import ApiError
from api.event_stream import EventStream, frame
from schemas.change_feed import Change, Ended, EndReason, FeedItem, Progress
from schemas.errors import MemostreamError, RetryLater

CURSORS = [f"v1-{number}-0-0" for number in range(10)]
NO_SCOPE = {"type": "http"}


async def given(items: Iterable[FeedItem]) -> AsyncIterator[FeedItem]:
    for item in items:
        yield item


async def sent(*items: FeedItem, limit: int | None = None) -> list[bytes]:
    return [each async for each in framed(given(items), limit)]


def change(number: int) -> Change:
    return Change("profile-updated", b'{"id":"%d"}' % number, CURSORS[number])


def test_an_event_has_a_line_for_each_line_of_its_data() -> None:
    assert frame("7", event="profiles", data=b'{"a":1}') == b'event: profiles\nid: 7\ndata: {"a":1}\n\n'
    assert frame("7", data=b"a\nb\rc\r\nd") == b"id: 7\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
    assert frame("7", retry_ms=5) == b"retry: 5\nid: 7\n\n"


async def test_a_stream_says_where_it_begins_what_changes_and_that_it_is_alive() -> None:
    frames = await sent(Progress(CURSORS[0]), change(1), Progress(CURSORS[2]))
    assert frames == [
        b"retry: 2000\nid: v1-0-0-0\n\n",
        b'event: profile-updated\nid: v1-1-0-0\ndata: {"id":"1"}\n\n',
        b": keep-alive\nid: v1-2-0-0\n\n",
    ]


@pytest.mark.parametrize("reason", END_DETAILS)
async def test_the_last_event_says_why_a_stream_ends_and_where_it_goes_on(reason: EndReason) -> None:
    frames = await sent(Progress(CURSORS[0]), Ended(reason, CURSORS[1]), change(2))
    assert len(frames) == 2
    name, event_id, data = frames[-1].decode().splitlines()[:3]
    assert (name, event_id) == ("event: end", "id: v1-1-0-0")
    assert json.loads(data.removeprefix("data: ")) == {"reason": reason, "detail": END_DETAILS[reason]}


async def test_a_limit_counts_changes_only() -> None:
    frames = await sent(Progress(CURSORS[0]), change(1), Progress(CURSORS[2]), change(3), change(4), limit=2)
    assert [each.count(b"profile-updated") for each in frames] == [0, 1, 0, 1, 0]
    assert b'"limit"' in frames[-1]
    assert b"id: v1-3-0-0" in frames[-1]


class Door:
    """Lets in as often as it is told, then raises."""

    def __init__(self, times: int, error: MemostreamError) -> None:
        self._times = times
        self._error = error
        self.asked: list[tuple[str | None, str | None]] = []

    async def authenticate(self, authorization: str | None, wanted_project: str | None) -> Access:
        self.asked.append((authorization, wanted_project))
        if len(self.asked) > self._times:
            raise self._error
        return Access("default", is_root=False)


@pytest.mark.parametrize(
    ("error", "reason"), [(ApiError(401, "revoked"), "revoked"), (RetryLater("away"), "unavailable")]
)
async def test_a_stream_ends_when_its_token_no_longer_opens_it_also_while_nothing_comes(
    error: MemostreamError, reason: EndReason
) -> None:
    door = Door(3, error)
    was_closed = False

    async def quiet() -> AsyncIterator[FeedItem]:
        nonlocal was_closed
        try:
            yield Progress(CURSORS[0])
            yield change(1)
            await asyncio.Event().wait()
        finally:
            was_closed = True

    keeper = Doorkeeper(door, {"authorization": "Bearer t"}, check_s=0.001)
    got = [item async for item in keeper.watched(quiet())]
    assert got == [Progress(CURSORS[0]), change(1), Ended(reason, CURSORS[1])]
    assert was_closed
    assert door.asked == [("Bearer t", None)] * 4


async def test_nothing_is_told_after_a_token_was_refused() -> None:
    door = Door(0, ApiError(401, "revoked"))

    async def busy() -> AsyncIterator[FeedItem]:
        yield Progress(CURSORS[0])
        while not door.asked:
            await asyncio.sleep(0.001)
        yield change(1)

    got = [item async for item in Doorkeeper(door, {}, check_s=0.001).watched(busy())]
    assert got == [Progress(CURSORS[0]), Ended("revoked", CURSORS[0])]


async def test_a_stream_that_ends_by_itself_ends_while_its_token_is_watched() -> None:
    items: list[FeedItem] = [Progress(CURSORS[0]), change(1), Ended("end", CURSORS[1])]
    keeper = Doorkeeper(Door(100, ApiError(401, "revoked")), {})
    assert [item async for item in keeper.watched(given(items))] == items


class Wire:
    """The two ends of an answer: what was sent, as long as the reader takes it, until the reader leaves."""

    def __init__(self, takes: int = 100) -> None:
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self._takes = takes

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if len(self.sent) == self._takes:
            await asyncio.Event().wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


class Source:
    """Frames that never end, after the first ones; knows whether it was closed."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._frames = frames
        self.closed = False

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        async def frames() -> AsyncGenerator[bytes, None]:
            for each in self._frames:
                yield each
            await asyncio.Event().wait()

        try:
            yield frames()
        finally:
            self.closed = True


async def test_when_its_reader_leaves_a_stream_is_closed() -> None:
    wire, source = Wire(), Source([b"one"])
    answering = asyncio.create_task(EventStream(source)(NO_SCOPE, wire.receive, wire.send))
    while wire.body != b"one":
        await asyncio.sleep(0)
    wire.left.set()
    await answering
    assert source.closed
    headers = dict(wire.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"cache-control"] == b"no-store"
    assert b"content-length" not in headers


async def test_a_reader_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.event_stream.SEND_TIMEOUT_S", 0.01)
    # The beginning and one frame.
    wire, source = Wire(takes=2), Source([b"one", b"two"])
    await EventStream(source)(NO_SCOPE, wire.receive, wire.send)
    assert source.closed
    assert wire.body == b"one"
    assert wire.sent[-1]["more_body"] is True


async def test_what_is_wrong_at_the_beginning_is_raised_before_anything_is_sent() -> None:
    class Refusing(Source):
        @asynccontextmanager
        async def __call__(self) -> AsyncIterator[AsyncGenerator[bytes, None]]:
            async with super().__call__() as frames:
                if self._frames:
                    raise ApiError(410, "gone")
                yield frames

    wire = Wire()
    with pytest.raises(ApiError, match="gone"):
        await EventStream(Refusing([b"one"]))(NO_SCOPE, wire.receive, wire.send)
    assert wire.sent == []
