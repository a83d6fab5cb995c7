"""Routes 8 to 11, 17, 19, 20 and 23 to 25 on a real database: users, profile entries and events by hand."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from api.gateway import Gateway
from schemas.buffer_views import BufferedBlob, BufferView
from schemas.errors import RetryLater
from schemas.profile_schema import ProfilePolicy
from schemas.records import Command
from schemas.settings import Settings
from schemas.settings_api import ApiSettings
from schemas.windows import Position, Window, WindowCommand
from storage.commands import apply_command
from storage.row_security import prepare_role
from storage.tables import events, forgotten_users, outbox, users
from tests.integration.storage.builders import application, apply_once, change, count_of, rows_of, unit, update, window
from tests.support.http_gateway import NOW, ROOT_TOKEN, client_of, gateway_on

PREFIX = "/api/v1"
SENT_MS = int(NOW.timestamp() * 1000)
WORK = {"topic": "work", "sub_topic": "company"}

both = pytest.mark.parametrize("gateway", [False, True], ids=["plain", "row_level_security"], indirect=True)


class Log:
    """Kafka, as far as a command needs it."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.is_away = False

    async def send_command(self, command: Command) -> Position:
        if self.is_away:
            raise RetryLater("the broker is away")
        self.commands.append(command)
        return Position(topic="chat-messages", partition=0, offset=len(self.commands), timestamp_ms=SENT_MS)


class Buffers:
    """The buffer of every user, which is past whatever is asked for."""

    def __init__(self) -> None:
        self.blobs: tuple[BufferedBlob, ...] = ()
        self.is_away = False

    async def view(
        self, project_id: str, user_id: str, *, past: Position | None = None, wait_s: float = 0
    ) -> BufferView:
        if self.is_away:
            raise RetryLater("a rebalance")
        return BufferView(partition=0, next_offset=100, blobs=self.blobs)


class Texts:
    """What waits for extraction."""

    topic = "chat-messages"

    def __init__(self) -> None:
        self.windows: tuple[Window, ...] = ()

    async def unfinished(self, project_id: str, user_id: str) -> tuple[Window, ...]:
        return self.windows


class Policies:
    async def policy_of(self, project_id: str) -> ProfilePolicy:
        return ProfilePolicy()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def buffers() -> Buffers:
    return Buffers()


@pytest.fixture
def texts() -> Texts:
    return Texts()


@pytest.fixture
async def gateway(
    engine: AsyncEngine, log: Log, buffers: Buffers, texts: Texts, request: pytest.FixtureRequest
) -> Gateway:
    is_secure: bool = getattr(request, "param", False)
    if is_secure:
        await prepare_role(engine)

    async def end_offsets() -> dict[tuple[str, int], int]:
        return {("chat-messages", 1): 7}

    settings = Settings(api=ApiSettings(row_level_security=is_secure))
    parts = {"message_log": log, "buffers": buffers, "policies": Policies(), "end_offsets": end_offsets}
    return gateway_on(engine, settings, texts=texts, **parts)


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gateway) as client:
        yield client


async def call(http: httpx.AsyncClient, method: str, path: str, errno: int = 0, **more: Any) -> Any:
    response = await http.request(method, f"{PREFIX}/{path}", **more)
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body.keys(), body["errno"]) == ({"data", "errno", "errmsg"}, errno), body
    assert (body["errmsg"] == "") == (errno == 0)
    return body["data"] if errno == 0 else body["errmsg"]


async def remember(engine: AsyncEngine, user_id: str = "ann") -> None:
    memory = update(change("company", None, "Acme"), gists=("met at Acme", "had lunch"), summary="A meeting")
    await apply_once(engine, application(window(unit("b1"), user_id=user_id), memory=memory), NOW)


def buffered(offset: int = 50) -> BufferedBlob:
    return BufferedBlob(
        blob_id="b",
        blob_type="chat",
        content_hash="0",
        position=Position(topic="chat-messages", partition=0, offset=offset, timestamp_ms=SENT_MS + offset),
        token_count=1,
        occurred_at_ms=SENT_MS,
        recorded_at_ms=SENT_MS,
    )


async def profile_of(http: httpx.AsyncClient, user_id: str = "ann") -> list[tuple[str, str, str]]:
    found = (await call(http, "GET", f"users/profile/{user_id}"))["profiles"]
    return sorted((item["attributes"]["topic"], item["attributes"]["sub_topic"], item["content"]) for item in found)


@both
async def test_a_user_is_made_read_changed_and_deleted(
    http: httpx.AsyncClient, log: Log, engine: AsyncEngine, gateway: Gateway
) -> None:
    body = {"id": "ann/öl", "data": {"name": "Ann"}, "created_at": "2020-01-01T00:00:00Z"}
    path = "users/ann%2F%C3%B6l"
    assert await call(http, "POST", "users", json=body) == {"id": "ann/öl"}
    made = await call(http, "GET", path)
    assert (made["id"], made["data"], made["created_at"]) == (None, {"name": "Ann"}, "2026-11-20T10:00:00+00:00")
    assert await call(http, "PUT", path, json={"data": {"name": "Anne"}}) == {"id": "ann/öl"}
    assert (await call(http, "GET", path))["data"] == {"name": "Anne"}
    assert await call(http, "PUT", path, json={"plan": "pro", "data": 1}) == {"id": "ann/öl"}
    assert (await call(http, "GET", path))["data"] == {"plan": "pro", "data": 1}

    assert await call(http, "DELETE", path) is None
    assert [(item.command, item.project_id, item.user_id) for item in log.commands] == [
        ("forget-user", "default", "ann/öl")
    ]
    assert "no such user" in await call(http, "GET", path, 404)
    ((offsets,),) = await rows_of(engine, forgotten_users, "offsets")
    assert offsets == {"chat-messages": {"0": 1, "1": 7}}


async def test_a_user_without_an_id_gets_one_that_memobases_clients_take(http: httpx.AsyncClient) -> None:
    made = await call(http, "POST", "users", json={"data": None})
    assert UUID(made["id"]).version == 4
    assert (await call(http, "GET", f"users/{made['id']}"))["data"] is None


async def test_a_call_that_is_sent_again_with_its_key_makes_one_user(
    http: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    ids = [
        (await call(http, "POST", "users", json={"data": {"a": 1}}, headers={"Idempotency-Key": key}))["id"]
        for key in ("one", "one", "two")
    ]
    assert ids[0] == ids[1] != ids[2]
    assert UUID(ids[0]).version == 5
    assert await count_of(engine, users) == 2
    # An empty one would be everybody's.
    empty = await http.post(f"{PREFIX}/users", json={"data": None}, headers={"Idempotency-Key": ""})
    assert empty.json()["errno"] == 400
    assert await count_of(engine, users) == 2


async def test_a_user_who_exists_is_made_again_with_the_same_data_only(http: httpx.AsyncClient) -> None:
    for _ in range(2):
        await call(http, "POST", "users", json={"id": "ann", "data": {"a": 1}})
    assert "other data" in await call(http, "POST", "users", 409, json={"id": "ann", "data": {"a": 2}})
    assert (await call(http, "GET", "users/ann"))["data"] == {"a": 1}


async def test_a_user_of_whom_there_are_messages_only_is_one(http: httpx.AsyncClient, buffers: Buffers) -> None:
    await call(http, "GET", "users/ann", 404)
    await call(http, "PUT", "users/ann", 404, json={})
    await call(http, "POST", "users/profile/ann", 404, json={"content": "x", "attributes": WORK})
    await call(http, "DELETE", "users/ann", 404)
    buffers.blobs = (buffered(),)
    found = await call(http, "GET", "users/ann")
    assert (found["data"], found["created_at"]) == (None, "2026-11-20T10:00:00.050000+00:00")
    await call(http, "PUT", "users/ann", json={"a": 1})
    buffers.blobs = ()
    assert (await call(http, "GET", "users/ann"))["data"] == {"a": 1}


async def test_while_the_buffer_cannot_be_asked_nobody_is_said_to_be_missing(
    http: httpx.AsyncClient, buffers: Buffers
) -> None:
    buffers.is_away = True
    response = await http.get(f"{PREFIX}/users/ann")
    assert (response.status_code, response.json()["errno"]) == (200, 503)
    assert int(response.headers["Retry-After"]) >= 1
    await call(http, "POST", "users", json={"id": "ann"})
    await call(http, "GET", "users/ann")


async def test_a_user_is_not_deleted_while_the_broker_is_away(
    http: httpx.AsyncClient, log: Log, engine: AsyncEngine
) -> None:
    await remember(engine)
    log.is_away = True
    await call(http, "DELETE", "users/ann", 503)
    assert await profile_of(http) == [("work", "company", "Acme")]


async def test_an_edit_that_the_database_does_not_come_to_is_a_503_and_is_not_made(
    http: httpx.AsyncClient, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call(http, "POST", "users", json={"id": "ann", "data": {"a": 1}})
    async with engine.begin() as other:
        await other.execute(select(users).with_for_update())
        with monkeypatch.context() as patch:
            patch.setattr("api.scope.DATABASE_TIMEOUT_S", 1.0)
            await call(http, "PUT", "users/ann", 503, json={"a": 2})
    assert (await call(http, "GET", "users/ann"))["data"] == {"a": 1}


async def test_a_user_is_deleted_of_whom_there_is_only_a_window_that_nobody_remembers(
    http: httpx.AsyncClient, log: Log, texts: Texts
) -> None:
    sent = Position(topic="chat-messages", partition=0, offset=0, timestamp_ms=SENT_MS)
    texts.windows = (window(unit("b1", position=sent)),)
    await call(http, "DELETE", "users/ann")
    assert [item.command for item in log.commands] == ["forget-user"]
    # The window still lies there, and holds nothing of anybody any more.
    await call(http, "DELETE", "users/ann", 404)


async def test_what_is_made_after_a_deletion_outlasts_its_command(
    http: httpx.AsyncClient, log: Log, engine: AsyncEngine, buffers: Buffers
) -> None:
    await remember(engine)
    buffers.blobs = (buffered(offset=0),)
    await call(http, "DELETE", "users/ann")
    # The buffer has not come to the command yet, and still holds what was sent before it.
    await call(http, "GET", "users/ann", 404)
    assert await profile_of(http) == []
    left = [(row.aggregatetype, row.payload) for row in await rows_of(engine, outbox)]
    assert left == [("profiles", None)]

    await call(http, "POST", "users", json={"id": "ann"})
    await call(http, "POST", "users/profile/ann", json={"content": "Bolt", "attributes": WORK})
    at = Position(topic="chat-messages", partition=0, offset=1, timestamp_ms=SENT_MS)
    late = WindowCommand(command=log.commands[0], command_id="c", position=at)
    async with engine.begin() as connection:
        await apply_command(connection, late, at, NOW + timedelta(seconds=9), uuid4)
    assert await profile_of(http) == [("work", "company", "Bolt")]


@both
async def test_an_entry_is_added_changed_moved_and_removed_and_readable_at_once(
    http: httpx.AsyncClient, gateway: Gateway
) -> None:
    await call(http, "POST", "users", json={"id": "ann"})
    path = "users/profile/ann"
    foods = {"topic": "interest", "sub_topic": "foods"}
    entry = await call(http, "POST", path, json={"content": "figs", "attributes": {**foods, "topic": " Interest"}})
    assert await profile_of(http) == [("interest", "foods", "figs")]
    again = await call(http, "POST", path, json={"content": "figs", "attributes": foods})
    more = await call(http, "POST", path, json={"content": "dates", "attributes": foods})
    assert entry == again == more
    assert UUID(entry["id"]).version == 4
    assert await profile_of(http) == [("interest", "foods", "figs; dates")]

    one = f"{path}/{entry['id']}"
    assert await call(http, "PUT", one, json={"content": "nuts", "attributes": None}) is None
    assert await profile_of(http) == [("interest", "foods", "nuts")]
    await call(http, "PUT", one, json={"content": "nuts", "attributes": {"topic": "diet", "sub_topic": "snacks"}})
    assert await profile_of(http) == [("diet", "snacks", "nuts")]
    assert await call(http, "DELETE", one) is None
    assert await profile_of(http) == []
    assert "no such entry" in await call(http, "DELETE", one, 404)


async def test_an_entry_that_is_missing_is_changed_silently_as_memobase_does_unless_it_must_exist(
    http: httpx.AsyncClient,
) -> None:
    path = f"users/profile/ann/{uuid4()}"
    assert await call(http, "PUT", path, json={"content": "x", "attributes": None}) is None
    await call(http, "PUT", path, 404, json={"content": "x"}, params={"must_exist": "True"})
    await call(http, "GET", "users/profile/ann")


async def test_wrong_attributes_blank_content_and_a_slot_that_is_taken_are_told_apart(http: httpx.AsyncClient) -> None:
    await call(http, "POST", "users", json={"id": "ann"})
    path = "users/profile/ann"
    assert "sub_topic" in await call(http, "POST", path, 520, json={"content": "x", "attributes": {"topic": "a"}})
    assert "attributes" in await call(http, "POST", path, 520, json={"content": "x"})
    assert "blank" in await call(http, "POST", path, 400, json={"content": " ", "attributes": WORK})
    entry = await call(http, "POST", path, json={"content": "Acme", "attributes": WORK})
    role = {"topic": "work", "sub_topic": "role"}
    await call(http, "POST", path, json={"content": "cook", "attributes": role})
    await call(http, "PUT", f"{path}/{entry['id']}", 409, json={"content": "Acme", "attributes": role})
    assert await profile_of(http) == [("work", "company", "Acme"), ("work", "role", "cook")]


async def test_an_entry_that_would_not_fit_the_topic_is_refused(http: httpx.AsyncClient, gateway: Gateway) -> None:
    await call(http, "POST", "users", json={"id": "ann"})
    words = "x" * gateway.settings.buffer.max_blob_bytes
    body = {"content": words, "attributes": WORK}
    await call(http, "POST", "users/profile/ann", json=body)
    errmsg = await call(
        http, "POST", "users/profile/ann", 400, json={**body, "attributes": {"topic": "work", "sub_topic": "role"}}
    )
    assert errmsg.startswith("too-large")
    assert "xxx" not in errmsg


@both
async def test_events_are_read_changed_and_removed(
    http: httpx.AsyncClient, engine: AsyncEngine, gateway: Gateway
) -> None:
    await remember(engine)
    answer = await call(http, "GET", "users/event/ann", params={"topk": 3, "need_summary": "true"})
    assert answer["gists"] == []
    (event,) = answer["events"]
    fact = {"content": "Acme", "attributes": WORK}
    assert event == {
        "id": event["id"],
        "event_data": {
            "profile_delta": [fact],
            "event_tip": "A meeting\n- met at Acme\n- had lunch",
            "event_tags": [{"tag": "mood", "value": "glad"}],
        },
        "created_at": "2026-11-20T10:00:00+00:00",
        "updated_at": "2026-11-20T10:00:00+00:00",
        "similarity": None,
    }
    one = f"users/event/ann/{event['id']}"
    tags = [{"tag": "mood", "value": "sad"}]
    assert await call(http, "PUT", one, json={"event_tip": "A meeting\n- met at Bolt", "event_tags": tags}) is None
    (changed,) = (await call(http, "GET", "users/event/ann"))["events"]
    assert changed["event_data"] == {
        "profile_delta": [fact],
        "event_tip": "A meeting\n- met at Bolt",
        "event_tags": tags,
    }
    await call(http, "PUT", one, json={"profile_delta": [], "event_tip": None})
    (changed,) = (await call(http, "GET", "users/event/ann"))["events"]
    assert (changed["event_data"]["profile_delta"], changed["event_data"]["event_tags"]) == ([], tags)
    assert await call(http, "DELETE", one) is None
    assert (await call(http, "GET", "users/event/ann"))["events"] == []
    assert "no such event" in await call(http, "DELETE", one, 404)
    assert "no such event" in await call(http, "PUT", one, 404, json={})


async def test_events_are_shown_however_old_they_are_unless_days_are_named(
    http: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    await remember(engine)
    async with engine.begin() as connection:
        await connection.execute(events.update().values(recorded_at=NOW - timedelta(days=400)))
    for days, expected in ((None, 1), (399, 0), (401, 1)):
        params = {} if days is None else {"time_range_in_days": days}
        assert len((await call(http, "GET", "users/event/ann", params=params))["events"]) == expected
    assert (await call(http, "GET", "users/event/ann", params={"max_token_size": 3}))["events"] == []
    assert (await call(http, "GET", "users/event/nobody"))["events"] == []


async def test_an_entry_or_event_of_somebody_else_is_not_there(
    http: httpx.AsyncClient, engine: AsyncEngine, gateway: Gateway
) -> None:
    await remember(engine)
    ((event_id,),) = await rows_of(engine, events, "event_id")
    (entry,) = (await call(http, "GET", "users/profile/ann"))["profiles"]
    async with client_of(gateway, ROOT_TOKEN, **{"X-Memostream-Project": "other"}) as stranger:
        for client, user_id in ((http, "bob"), (stranger, "ann")):
            await call(client, "POST", "users", json={"id": user_id, "data": {"of": user_id}})
            await call(client, "PUT", f"users/profile/{user_id}/{entry['id']}", json={"content": "stolen"})
            await call(client, "DELETE", f"users/profile/{user_id}/{entry['id']}", 404)
            await call(client, "PUT", f"users/event/{user_id}/{event_id}", 404, json={"event_tip": "stolen"})
            await call(client, "DELETE", f"users/event/{user_id}/{event_id}", 404)
        await call(stranger, "DELETE", "users/ann")
    assert await profile_of(http) == [("work", "company", "Acme")]
    assert len((await call(http, "GET", "users/event/ann"))["events"]) == 1


async def test_what_no_route_takes_is_status_422(http: httpx.AsyncClient) -> None:
    wrong: list[tuple[str, str, Any]] = [
        ("POST", "users", {"id": ""}),
        ("POST", "users", {"id": "x" * 256}),
        ("POST", "users", {"id": "a\x00b"}),
        ("POST", "users", {"data": "text"}),
        ("POST", "users", {"data": {"a": "\x00"}}),
        ("PUT", "users/ann", [1]),
        ("PUT", "users/a%00b", {}),
        ("POST", "users/profile/ann", {"attributes": WORK}),
        ("POST", "users/profile/ann", {"content": "a\x00b", "attributes": WORK}),
        ("PUT", "users/profile/ann/not-an-id", {"content": "x"}),
        ("PUT", f"users/event/ann/{UUID(int=4)}", {"event_tags": [{"tag": "a"}]}),
        ("PUT", f"users/event/ann/{UUID(int=4)}", {"event_tip": "\x00"}),
        ("PUT", f"users/event/ann/{UUID(int=4)}", {"profile_delta": [{"content": "x", "attributes": {}}]}),
    ]
    for method, path, body in wrong:
        response = await http.request(method, f"{PREFIX}/{path}", json=body)
        assert (response.status_code, response.json().keys()) == (422, {"detail"}), (method, path, body)
