"""Calls about blobs while parts of the system are away, slow, or know nothing: answers stay true, and come in time."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from api.errors import ApiError
from api.inserting import insertion_of
from api.models.blobs import BlobBody
from api.scope import Scope
from api.sending import require_taken
from schemas.buffer_views import BufferedBlob, BufferView, ClosedBlob, ClosedWindow, ParkedRecord
from schemas.errors import RetryLater
from schemas.identity import content_hash
from schemas.records import Blob, Command
from schemas.settings import ApiSettings, Settings
from schemas.sought_blobs import Absence, FoundBlob, SoughtBlob
from schemas.windows import Position, Unit, Window, WindowCommand
from storage.applying import ParkedUnit
from storage.holding import BUDGET, hold
from storage.ledger import LedgerRow, command_ledger_id, record_ledger
from storage.ledger_waiter import LedgerWaiter
from storage.units import ID_CONFLICT
from tests.integration.storage.builders import NOW, application, apply_once, change, position, unit, update, window
from tests.support.http_gateway import client_of, gateway_on

LONG_S = 60.0
SAID = unit("b1", 5)
BODY = {"id": "b1", **SAID.content}
INSERT = "/api/v1/blobs/insert/ann"
TOPIC = "chat-messages"


@dataclass
class Log:
    """Takes records at offset 5, and then on."""

    sent: list[Blob | Command] = field(default_factory=list)
    is_away: bool = False

    async def send_blob(self, blob: Blob) -> Position:
        return await self._send(blob)

    async def send_command(self, command: Command) -> Position:
        return await self._send(command)

    async def _send(self, record: Blob | Command) -> Position:
        if self.is_away:
            raise RetryLater("the broker is away", delay_s=7.0)
        self.sent.append(record)
        return position(4 + len(self.sent))


@dataclass
class Buffers:
    """Answers what a test wants it to."""

    view_now: BufferView | None = None
    is_silent: bool = False

    async def view(
        self, project_id: str, user_id: str, *, past: Position | None = None, wait_s: float = 0.0
    ) -> BufferView:
        if self.is_silent:
            await asyncio.Event().wait()
        if self.view_now is None:
            raise RetryLater("no worker")
        return self.view_now


@dataclass
class Texts:
    """A topic on which every blob is the same."""

    found: Unit | None = None
    absence: Absence | None = None
    windows: Sequence[Window] = ()
    topic: str = TOPIC

    async def read(self, sought: Iterable[SoughtBlob]) -> Mapping[SoughtBlob, FoundBlob]:
        return {blob: FoundBlob(self.found, self.absence) for blob in sought}

    async def unfinished(self, project_id: str, user_id: str) -> Sequence[Window]:
        return self.windows


@dataclass
class Setting:
    """A gateway on a database, all else scripted."""

    http: httpx.AsyncClient
    log: Log
    buffers: Buffers
    texts: Texts
    stopping: asyncio.Event

    async def sent(self) -> Blob | Command:
        """The first record, as soon as it is sent."""
        while not self.log.sent:
            await asyncio.sleep(0.01)
        return self.log.sent[0]

    async def insert(self, *, wait: bool = True, body: Mapping[str, Any] = BODY) -> dict[str, Any]:
        response = await self.http.post(INSERT, params={"wait_process": wait}, json=body)
        document: dict[str, Any] = response.json()
        return document["data"] if document["errno"] == 0 else document


@asynccontextmanager
async def setting(engine: AsyncEngine, *, wait_timeout_s: float = LONG_S) -> AsyncIterator[Setting]:
    log, buffers, texts, ledger = Log(), Buffers(), Texts(), LedgerWaiter(engine)
    settings = Settings(api=ApiSettings(wait_timeout_s=wait_timeout_s))
    gateway = gateway_on(engine, settings, message_log=log, buffers=buffers, texts=texts, ledger=ledger)
    listening = asyncio.create_task(ledger.run())
    async with client_of(gateway) as http:
        yield Setting(http, log, buffers, texts, gateway.stopping)
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening


def view(*, next_offset: int = 100, **more: Any) -> BufferView:
    return BufferView(partition=0, next_offset=next_offset, **more)


def closed(done: Window) -> ClosedWindow:
    blobs = tuple(
        ClosedBlob(blob_id=one.blob_id, content_hash=one.content_hash, offset=one.position.offset) for one in done.units
    )
    return ClosedWindow(window_id=done.window_id, blob_type="chat", reason="tokens", closed_by=5, blobs=blobs)


def buffered(one: Unit) -> BufferedBlob:
    return BufferedBlob(
        blob_id=one.blob_id,
        blob_type="chat",
        content_hash=one.content_hash,
        position=one.position,
        token_count=1,
        occurred_at_ms=one.occurred_at_ms,
        recorded_at_ms=one.recorded_at_ms,
    )


async def learn(engine: AsyncEngine) -> None:
    await apply_once(engine, application(window(SAID), memory=update(change("company", None, "Acme"), summary="s")))


async def test_a_broker_that_is_away_is_a_503_in_the_body_and_says_when_to_try_again(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        system.log.is_away = True
        for call in (INSERT, "/api/v1/users/buffer/ann/chat", "/api/v1/users/profile/import/ann"):
            body = {"context": "x"} if "import" in call else BODY
            response = await system.http.post(call, json=body)
            assert (response.status_code, response.json()["errno"]) == (200, 503)
            assert response.headers["Retry-After"] == "7"


async def test_inserting_needs_kafka_alone(engine: AsyncEngine) -> None:
    async with setting(engine, wait_timeout_s=0.3) as system:
        answer = await system.insert(wait=False, body={key: BODY[key] for key in ("blob_type", "blob_data")})
        assert UUID(answer["id"]).version == 4
        assert answer["state"] == "unread"
        system.buffers.is_silent = True
        assert (await system.insert(wait=False))["id"] == "b1"
        system.buffers.is_silent = False
        # Nobody can say where it is; that it is safe is no error all the same.
        waited = await system.insert()
        assert (waited["id"], waited["state"], waited["chat_results"]) == ("b1", "unread", [])


async def test_a_wait_ends_with_the_window_and_tells_what_it_changed(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        system.buffers.view_now = view(closed=(closed(window(SAID)),))
        waiting = asyncio.create_task(system.insert())
        await system.sent()
        await learn(engine)
        answer = await waiting
        (result,) = answer["chat_results"]
        assert (answer["state"], len(result["add_profiles"])) == ("applied", 1)
        assert result["event_id"]


async def test_a_window_that_nobody_remembers_is_found_when_it_is_done(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        system.buffers.view_now = view()
        waiting = asyncio.create_task(system.insert())
        await system.sent()
        await learn(engine)
        assert (await waiting)["state"] == "applied"


async def test_a_wait_that_is_too_long_tells_how_far_the_blob_came(engine: AsyncEngine) -> None:
    async with setting(engine, wait_timeout_s=0.3) as system:
        system.buffers.view_now = view(closed=(closed(window(SAID)),))
        answer = await system.insert()
        assert (answer["id"], answer["state"], answer["chat_results"]) == ("b1", "extracting", [])
        response = await system.http.post("/api/v1/users/buffer/ann/chat?wait_process=true")
        assert (response.status_code, response.json()["errno"]) == (200, 504)
        assert "goes on" in response.json()["errmsg"]


async def test_what_waits_for_tomorrows_budget_is_not_waited_for(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        system.buffers.view_now = view(closed=(closed(window(SAID)),))
        async with engine.begin() as connection:
            await hold(connection, window(SAID), position(7, "extraction-windows"), BUDGET, NOW)
        answer = await system.insert()
        assert (answer["state"], answer["reason"]) == ("held", BUDGET)
        found = (await system.http.get("/api/v1/blobs/ann/b1")).json()["data"]
        assert (found["state"], found["reason"], found["blob_data"]) == ("held", BUDGET, SAID.content["blob_data"])


async def test_a_gateway_that_stops_answers_who_waits(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        system.buffers.view_now = view()
        waiting = asyncio.create_task(system.insert())
        await system.sent()
        system.stopping.set()
        assert (await waiting)["state"] in ("unread", "extracting")


async def test_what_the_buffer_parks_is_told_with_its_reason(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        refused = ParkedRecord(offset=5, blob_id="b1", reason="too-large")
        system.buffers.view_now = view(parked=(refused,))
        answer = await system.insert()
        assert (answer["state"], answer["reason"]) == ("parked", "too-large")
        state = (await system.http.get("/api/v1/blobs/ann/b1/state")).json()["data"]
        assert state == {"id": "b1", "state": "parked", "reason": "too-large"}


async def test_another_blob_that_came_first_under_the_id_is_not_taken_for_this_one(engine: AsyncEngine) -> None:
    other = unit("b1", 4, "other words")
    async with setting(engine) as system:
        waiting = asyncio.create_task(system.insert())
        await system.sent()
        refused = ParkedRecord(offset=5, blob_id="b1", reason=ID_CONFLICT)
        system.buffers.view_now = view(blobs=(buffered(other),), parked=(refused,))
        answer = await waiting
        assert (answer["state"], answer["reason"]) == ("parked", ID_CONFLICT)
    async with setting(engine) as system:
        waiting = asyncio.create_task(system.insert())
        await system.sent()
        await apply_once(engine, application(window(other)))
        await apply_once(engine, application(window(SAID), applied=(), parked=[ParkedUnit(SAID, ID_CONFLICT, "", 1)]))
        system.buffers.view_now = view()
        answer = await waiting
        assert (answer["state"], answer["reason"]) == ("parked", ID_CONFLICT)


async def test_a_flush_answers_what_the_windows_that_it_closed_have_changed(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        await learn(engine)
        waiting = asyncio.create_task(system.http.post("/api/v1/users/buffer/ann/chat?wait_process=true"))
        command = await system.sent()
        assert isinstance(command, Command)
        assert (command.command, command.user_id, command.blob_type) == ("flush", "ann", "chat")
        sent = WindowCommand(command=command, command_id="c", position=position(5), window_ids=[])
        row = LedgerRow(
            ledger_id=command_ledger_id(sent),
            kind="flush",
            project_id="default",
            user_id="ann",
            position=position(9, "extraction-windows"),
            outcome="done",
            recorded_at=NOW,
            window_ids=(window(SAID).window_id,),
        )
        async with engine.begin() as connection:
            await record_ledger(connection, [row])
        (result,) = (await waiting).json()["data"]
        assert len(result["add_profiles"]) == 1


async def test_a_window_that_changed_nothing_is_one_result_that_says_so(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        system.buffers.view_now = view(closed=(closed(window(SAID)),))
        waiting = asyncio.create_task(system.insert())
        await system.sent()
        await apply_once(engine, application(window(SAID)))
        nothing: dict[str, Any] = {"event_id": None, "add_profiles": [], "update_profiles": [], "delete_profiles": []}
        assert (await waiting)["chat_results"] == [nothing]


async def test_a_text_that_was_parked_is_not_said_to_be_imported(engine: AsyncEngine) -> None:
    parked = [ParkedUnit(SAID, "content-rejected", "refused", 2)]
    await apply_once(engine, application(window(SAID), applied=(), parked=parked))
    insertion = insertion_of(BlobBody.model_validate(BODY), "default", "ann", None, UUID(int=1))
    with pytest.raises(ApiError, match="content-rejected") as refused:
        await require_taken(Scope("default", is_root=True, gateway=gateway_on(engine)), "ann", insertion)
    assert refused.value.errno == 520


async def test_a_text_comes_from_the_topic_or_is_said_to_be_gone(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        await learn(engine)
        system.texts.found = SAID
        found = (await system.http.get("/api/v1/blobs/ann/b1")).json()["data"]
        assert (found["state"], found["blob_data"]) == ("applied", SAID.content["blob_data"])
        system.texts.found = None
        answers: dict[Absence, int] = {"removed": 404, "replaced": 404, "no-topic": 404, "unanswered": 503}
        for absence, errno in answers.items():
            system.texts.absence = absence
            response = (await system.http.get("/api/v1/blobs/ann/b1")).json()
            assert response["errno"] == errno
        system.texts.absence = "removed"
        assert "applied" in (await system.http.get("/api/v1/blobs/ann/b1")).json()["errmsg"]
        assert (await system.http.get("/api/v1/users/blobs/ann/chat?page_size=1")).json()["data"] == {"ids": ["b1"]}


async def test_a_kept_text_needs_no_topic_also_where_it_was_cut_into_pieces(engine: AsyncEngine) -> None:
    messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    whole = unit("b1", 5, content={"blob_type": "chat", "blob_data": {"messages": messages}})
    digest = content_hash(whole.content)
    pieces = [
        whole.model_copy(
            update={
                "message_index": index,
                "part": part,
                "content_hash": digest,
                "content": {"blob_type": "chat", "blob_data": {"messages": [{**messages[index], "content": text}]}},
            }
        )
        for index, part, text in ((0, 0, "o"), (0, 1, "ne"), (1, None, "two"))
    ]
    async with setting(engine) as system:
        system.buffers.view_now = view()
        await apply_once(engine, application(window(*pieces), keep_blobs=True))
        found = (await system.http.get("/api/v1/blobs/ann/b1")).json()["data"]
        assert found["blob_data"] == {"messages": messages}


async def test_a_blob_in_a_window_that_nobody_remembers_is_still_found(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        system.buffers.view_now = view()
        system.texts.windows = (window(SAID),)
        found = (await system.http.get("/api/v1/blobs/ann/b1")).json()["data"]
        assert (found["state"], found["blob_data"]) == ("extracting", SAID.content["blob_data"])
        assert (await system.http.get("/api/v1/blobs/ann/b2")).json()["errno"] == 404


async def test_reading_is_a_503_while_the_buffer_cannot_be_asked_and_no_false_no(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        for path in ("/blobs/ann/b1", "/users/blobs/ann/chat", "/users/buffer/capacity/ann/chat?status=idle"):
            response = await system.http.get(f"/api/v1{path}")
            assert (response.status_code, response.json()["errno"]) == (200, 503)
        response = await system.http.get("/api/v1/blobs/ann/b1/state")
        assert (response.status_code, response.json()["errno"]) == (503, 503)
        # What was sent a moment ago is not read yet.
        system.buffers.view_now = view(next_offset=3)
        await system.insert(wait=False)
        assert (await system.http.get("/api/v1/blobs/ann/b1")).json()["errno"] == 503
        system.buffers.view_now = view(blobs=(buffered(SAID),))
        listed = (await system.http.get("/api/v1/users/blobs/ann/chat")).json()["data"]
        assert listed == {"ids": ["b1"]}


async def test_a_blob_that_is_known_is_not_sent_once_more(engine: AsyncEngine) -> None:
    async with setting(engine) as system:
        system.buffers.view_now = view(blobs=(buffered(SAID),))
        assert (await system.insert())["state"] == "buffered"
        await learn(engine)
        assert (await system.insert())["state"] == "applied"
        assert system.log.sent == []
        answer = await system.insert(body={**BODY, "fields": {"other": True}})
        assert answer["errno"] == 409
