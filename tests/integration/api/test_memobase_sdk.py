"""Memobase's own SDK, as it comes from PyPI, against a running system: every public method of both of its clients."""

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

import httpx
import pytest
from memobase import AsyncMemoBaseClient, ChatBlob, MemoBaseClient
from memobase.core.async_entry import AsyncUser
from memobase.core.blob import (
    BlobType,
    CodeBlob,
    DocBlob,
    ImageBlob,
    OpenAICompatibleMessage,
    SummaryBlob,
    TranscriptBlob,
    TranscriptStamp,
)
from memobase.core.entry import User
from memobase.core.user import UserEventData, UserEventGistData, UserProfile
from memobase.error import ServerError

from tests.support.running_gateway import RunningSystem

Client = MemoBaseClient | AsyncMemoBaseClient
Kind = Literal["sync", "async"]
CLIENTS: dict[Kind, tuple[type, type]] = {"sync": (MemoBaseClient, User), "async": (AsyncMemoBaseClient, AsyncUser)}
DEADLINE_S = 60.0
SAYS = "I live in Bergen and I work as a nurse"
Answer = TypeVar("Answer")


@dataclass
class Sdk:
    """One client of a project; a call of the asynchronous one is awaited, and that is all the difference."""

    kind: Kind
    client: Any
    url: str
    token: str
    _users: int = field(default=0, init=False)

    async def call(self, answer: Awaitable[Answer] | Answer) -> Answer:
        if inspect.isawaitable(answer):
            return await answer
        return answer

    def user_id(self) -> str:
        return str(uuid.uuid4())

    async def new_user(self, **data: Any) -> Any:
        """A user of this test's alone."""
        user_id = await self.call(self.client.add_user(data=data or None))
        return await self.call(self.client.get_user(user_id))

    async def told(self, *says: str) -> Any:
        """A user who has said this, after it has become memory."""
        user = await self.new_user()
        await self.call(user.insert(chat(*(says or (SAYS,)))))
        assert await self.call(user.flush(sync=True)) is True
        return user


def chat(*says: str) -> ChatBlob:
    return ChatBlob(messages=[OpenAICompatibleMessage(role="user", content=each) for each in says])


def public_methods(*classes: type) -> list[str]:
    """What somebody may call: of `User`, `insert` is `User.insert`."""
    return [
        f"{of.__name__.removeprefix('Async')}.{name}"
        for of in classes
        for name, member in inspect.getmembers(of, inspect.isfunction)
        if not name.startswith("_")
    ]


CASES: dict[str, Callable[[Sdk], Awaitable[None]]] = {}


def case(name: str) -> Callable[[Callable[[Sdk], Awaitable[None]]], Callable[[Sdk], Awaitable[None]]]:
    def register(test: Callable[[Sdk], Awaitable[None]]) -> Callable[[Sdk], Awaitable[None]]:
        CASES[name] = test
        return test

    return register


@pytest.fixture(scope="module")
def tokens(system: RunningSystem) -> dict[Kind, str]:
    """Of a project for each client, since some methods speak of all users of a project."""
    return {"sync": system.token("sdk-sync"), "async": system.token("sdk-async")}


@asynccontextmanager
async def sdk_of(kind: Kind, url: str, token: str) -> AsyncIterator[Sdk]:
    if kind == "sync":
        client = MemoBaseClient(project_url=url, api_key=token)
        # It has no way of its own to let go.
        with client.client:
            yield Sdk(kind, client, url, token)
        return
    async with AsyncMemoBaseClient(project_url=url, api_key=token) as client:
        yield Sdk(kind, client, url, token)


@pytest.mark.parametrize(
    ("kind", "method"), [(kind, method) for kind, classes in CLIENTS.items() for method in public_methods(*classes)]
)
async def test_every_public_method_of_both_clients_does_what_it_says(
    kind: Kind, method: str, system: RunningSystem, tokens: dict[Kind, str]
) -> None:
    async with sdk_of(kind, system.url, tokens[kind]) as sdk:
        await CASES[method](sdk)


def test_no_case_is_left_over() -> None:
    assert CASES.keys() == {method for classes in CLIENTS.values() for method in public_methods(*classes)}


@case("MemoBaseClient.ping")
async def ping(sdk: Sdk) -> None:
    assert await sdk.call(sdk.client.ping()) is True


@case("MemoBaseClient.close")
async def close(sdk: Sdk) -> None:
    async with AsyncMemoBaseClient(project_url=sdk.url, api_key=sdk.token) as client:
        assert await client.ping()
        await client.close()
        with pytest.raises(RuntimeError, match="closed"):
            await client.ping()


@case("MemoBaseClient.get_config")
async def get_config(sdk: Sdk) -> None:
    await sdk.call(sdk.client.update_config(""))
    assert await sdk.call(sdk.client.get_config()) == ""


@case("MemoBaseClient.update_config")
async def update_config(sdk: Sdk) -> None:
    config = "language: zh\nevent_tags:\n  - name: 情绪\n    description: 用户的情绪\n"
    assert await sdk.call(sdk.client.update_config(config)) is True
    assert await sdk.call(sdk.client.get_config()) == config
    with pytest.raises(ServerError, match="event_tags"):
        await sdk.call(sdk.client.update_config("event_tags: 3"))
    assert await sdk.call(sdk.client.get_config()) == config
    await sdk.call(sdk.client.update_config(""))


@case("MemoBaseClient.get_usage")
async def get_usage(sdk: Sdk) -> None:
    usage = await sdk.call(sdk.client.get_usage())
    assert usage.keys() == {"token_left", "next_refill_at", "project_token_cost_month"}
    assert isinstance(usage["project_token_cost_month"], int)


@case("MemoBaseClient.get_daily_usage")
async def get_daily_usage(sdk: Sdk) -> None:
    before = (await sdk.call(sdk.client.get_daily_usage(days=3)))[0]
    await sdk.told()

    async def counted() -> bool:
        today = (await sdk.call(sdk.client.get_daily_usage()))[0]
        return bool(today["total_success_insert"] > before["total_success_insert"])

    await until(counted)
    days = await sdk.call(sdk.client.get_daily_usage(days=3))
    assert len(days) == 3
    assert all(
        day.keys() == {"date", "total_insert", "total_success_insert", "total_input_token", "total_output_token"}
        for day in days
    )
    today = datetime.now(UTC).date()
    assert [day["date"] for day in days] == [str(today - timedelta(days=back)) for back in range(3)]


@case("MemoBaseClient.add_user")
async def add_user(sdk: Sdk) -> None:
    made = await sdk.call(sdk.client.add_user(data={"plan": "pro"}))
    assert uuid.UUID(made).version in (4, 5)
    assert (await sdk.call(sdk.client.get_user(made))).fields["data"] == {"plan": "pro"}
    ours = sdk.user_id()
    assert await sdk.call(sdk.client.add_user(id=ours)) == ours
    with pytest.raises(ServerError):
        await sdk.call(sdk.client.add_user(data={"plan": "free"}, id=made))


@case("MemoBaseClient.update_user")
async def update_user(sdk: Sdk) -> None:
    user = await sdk.new_user(plan="pro", since=2020)
    assert await sdk.call(sdk.client.update_user(user.user_id, data={"plan": "free"})) == user.user_id
    assert (await sdk.call(sdk.client.get_user(user.user_id))).fields["data"] == {"plan": "free"}
    with pytest.raises(ServerError):
        await sdk.call(sdk.client.update_user(sdk.user_id(), data={"plan": "free"}))


@case("MemoBaseClient.get_user")
async def get_user(sdk: Sdk) -> None:
    user = await sdk.new_user(plan="pro")
    assert user.fields["data"] == {"plan": "pro"}
    assert user.fields.keys() >= {"id", "data", "created_at", "updated_at"}
    assert (await sdk.call(sdk.client.get_user(sdk.user_id(), no_get=True))).fields is None
    with pytest.raises(ServerError):
        await sdk.call(sdk.client.get_user(sdk.user_id()))


@case("MemoBaseClient.get_or_create_user")
async def get_or_create_user(sdk: Sdk) -> None:
    user_id = sdk.user_id()
    made = await sdk.call(sdk.client.get_or_create_user(user_id))
    assert (made.user_id, made.fields) == (user_id, None)
    found = await sdk.call(sdk.client.get_or_create_user(user_id))
    assert found.fields["created_at"] is not None


@case("MemoBaseClient.delete_user")
async def delete_user(sdk: Sdk) -> None:
    user = await sdk.told()
    await sdk.call(user.insert(chat("I moved to Oslo")))
    assert await sdk.call(sdk.client.delete_user(user.user_id)) is True
    with pytest.raises(ServerError):
        await sdk.call(sdk.client.get_user(user.user_id))
    assert await sdk.call(user.profile()) == []
    assert await sdk.call(user.event()) == []
    assert await sdk.call(user.get_all(BlobType.chat)) == []
    with pytest.raises(ServerError):
        await sdk.call(sdk.client.delete_user(user.user_id))


@case("MemoBaseClient.get_all_users")
async def get_all_users(sdk: Sdk) -> None:
    quiet = await sdk.new_user(plan="pro")
    told = await sdk.told()
    listed = await sdk.call(sdk.client.get_all_users(limit=2, order_by="profile_count"))
    assert len(listed) == 2
    (found,) = await sdk.call(sdk.client.get_all_users(search=told.user_id))
    assert found.keys() >= {
        "id",
        "project_id",
        "additional_fields",
        "created_at",
        "updated_at",
        "profile_count",
        "event_count",
    }
    assert (found["id"], found["project_id"]) == (told.user_id, f"sdk-{sdk.kind}")
    assert (found["profile_count"], found["event_count"]) == (2, 1)
    ordered = await sdk.call(sdk.client.get_all_users(order_by="profile_count", order_desc=False, limit=1000))
    counts = [each["profile_count"] for each in ordered]
    assert counts == sorted(counts)
    assert {quiet.user_id, told.user_id} <= {each["id"] for each in ordered}
    assert len(await sdk.call(sdk.client.get_all_users(order_desc=False, limit=1, offset=1))) == 1


@case("User.insert")
async def insert(sdk: Sdk) -> None:
    user = await sdk.new_user()
    buffered = await sdk.call(user.insert(chat("I have a cat")))
    assert uuid.UUID(buffered).version in (4, 5)
    assert await sdk.call(user.profile()) == []
    assert await sdk.call(user.insert(chat(SAYS), sync=True)) != buffered
    for blob in (
        SummaryBlob(summary="The user lives in Oslo."),
        DocBlob(content="A letter about Oslo."),
        CodeBlob(content="print(1)", language="python"),
        ImageBlob(url="https://images.example/cat.png"),
        TranscriptBlob(transcripts=[TranscriptStamp(content="Hello", start_timestamp_in_seconds=0.0)]),
    ):
        assert await sdk.call(user.insert(blob))
    assert await sdk.call(user.insert(ChatBlob(messages=[])))
    stranger = await sdk.call(sdk.client.get_user(sdk.user_id(), no_get=True))
    assert await sdk.call(stranger.insert(chat("Whoever sends a message is a user")))


@case("User.get")
async def get(sdk: Sdk) -> None:
    user = await sdk.new_user()
    message = OpenAICompatibleMessage(role="user", content=SAYS, alias="Ann", created_at="Year 32637")
    blob_id = await sdk.call(user.insert(ChatBlob(messages=[message], fields={"from": "app"})))
    found = await sdk.call(user.get(blob_id))
    assert isinstance(found, ChatBlob)
    assert (found.messages, found.fields) == ([message], {"from": "app"})
    assert found.created_at is not None
    summary = await sdk.call(user.insert(SummaryBlob(summary="The user lives in Oslo.")))
    assert (await sdk.call(user.get(summary))).summary == "The user lives in Oslo."
    doc = await sdk.call(user.insert(DocBlob(content="A letter.")))
    assert (await sdk.call(user.get(doc))).content == "A letter."
    image = await sdk.call(user.insert(ImageBlob(url="https://images.example/cat.png")))
    with pytest.raises(NotImplementedError):
        await sdk.call(user.get(image))
    with pytest.raises(ServerError):
        await sdk.call(user.get(sdk.user_id()))


@case("User.get_all")
async def get_all(sdk: Sdk) -> None:
    user = await sdk.new_user()
    sent = [await sdk.call(user.insert(chat(f"I have {number} cats"))) for number in range(3)]
    assert await sdk.call(user.get_all(BlobType.chat)) == sent
    assert await sdk.call(user.get_all(BlobType.chat, page=1, page_size=2)) == sent[2:]
    await sdk.call(user.flush(sync=True))
    later = await sdk.call(user.insert(chat("I have no cats")))
    assert await sdk.call(user.get_all(BlobType.chat)) == [*sent, later]
    assert await sdk.call(user.get_all(BlobType.doc)) == []


@case("User.delete")
async def delete(sdk: Sdk) -> None:
    user = await sdk.new_user()
    kept = await sdk.call(user.insert(chat("I work as a nurse")))
    deleted = await sdk.call(user.insert(chat("I live in Bergen")))
    assert await sdk.call(user.delete(deleted)) is True
    assert await sdk.call(user.delete(deleted)) is True
    with pytest.raises(ServerError):
        await sdk.call(user.get(deleted))
    await sdk.call(user.flush(sync=True))
    assert slots(await sdk.call(user.profile())) == {("work", "title"): "nurse"}
    assert await sdk.call(user.delete(kept)) is True
    assert await sdk.call(user.profile()) == []


@case("User.flush")
async def flush(sdk: Sdk) -> None:
    user = await sdk.new_user()
    assert await sdk.call(user.flush()) is True
    assert await sdk.call(user.flush(sync=True)) is True
    await sdk.call(user.insert(chat(SAYS)))
    assert await sdk.call(user.flush(BlobType.chat)) is True

    async def extracted() -> bool:
        return len(await sdk.call(user.profile())) == 2

    await until(extracted)
    await sdk.call(user.insert(DocBlob(content="I have a cat.")))
    assert await sdk.call(user.flush(BlobType.doc, sync=True)) is True


@case("User.buffer")
async def buffer(sdk: Sdk) -> None:
    user = await sdk.new_user()
    blob_id = await sdk.call(user.insert(chat(SAYS)))
    assert await sdk.call(user.buffer(BlobType.chat)) == [blob_id]
    assert await sdk.call(user.buffer(BlobType.chat, status="failed")) == []
    await sdk.call(user.flush(sync=True))
    assert await sdk.call(user.buffer(BlobType.chat, status="idle")) == []
    assert await sdk.call(user.buffer(BlobType.chat, status="processing")) == []
    assert await sdk.call(user.buffer(BlobType.chat, status="done")) == [blob_id]


@case("User.add_profile")
async def add_profile(sdk: Sdk) -> None:
    user = await sdk.new_user()
    profile_id = await sdk.call(user.add_profile("Bergen", "contact_info", "city"))
    (entry,) = await sdk.call(user.profile())
    assert (str(entry.id), entry.content, entry.topic, entry.sub_topic) == (
        profile_id,
        "Bergen",
        "contact_info",
        "city",
    )


@case("User.update_profile")
async def update_profile(sdk: Sdk) -> None:
    user = await sdk.told()
    (city,) = [entry for entry in await sdk.call(user.profile()) if entry.sub_topic == "city"]
    assert await sdk.call(user.update_profile(str(city.id), "Oslo", "contact_info", "home")) is True
    entries = {entry.id: entry for entry in await sdk.call(user.profile())}
    assert (entries[city.id].content, entries[city.id].sub_topic) == ("Oslo", "home")
    assert entries[city.id].updated_at > city.updated_at


@case("User.delete_profile")
async def delete_profile(sdk: Sdk) -> None:
    user = await sdk.told()
    (city,) = [entry for entry in await sdk.call(user.profile()) if entry.sub_topic == "city"]
    assert await sdk.call(user.delete_profile(str(city.id))) is True
    assert slots(await sdk.call(user.profile())) == {("work", "title"): "nurse"}
    with pytest.raises(ServerError):
        await sdk.call(user.delete_profile(str(city.id)))


@case("User.profile")
async def profile(sdk: Sdk) -> None:
    user = await sdk.told()
    entries = await sdk.call(user.profile())
    assert all(isinstance(entry, UserProfile) for entry in entries)
    assert all(isinstance(entry.created_at, datetime) and isinstance(entry.updated_at, datetime) for entry in entries)
    assert slots(entries) == {("contact_info", "city"): "Bergen", ("work", "title"): "nurse"}
    assert {entry.describe for entry in entries} == {"contact_info: city - Bergen", "work: title - nurse"}

    async def topics(**options: Any) -> list[str]:
        return [entry.topic for entry in await sdk.call(user.profile(**options))]

    assert await topics(prefer_topics=["work"]) == ["work", "contact_info"]
    assert await topics(prefer_topics=["contact_info", "work"]) == ["contact_info", "work"]
    assert await topics(only_topics=["work", "nothing"]) == ["work"]
    assert await topics(topic_limits={"work": 0}) == ["contact_info"]
    assert len(await topics(max_subtopic_size=1)) == 2
    assert await topics(max_token_size=1) == []
    assert len(await topics(chats=[{"role": "user", "content": "Where do I live?"}])) == 2
    with pytest.raises(ServerError, match="percent-encoded"):
        # The client does not encode it, so that the half of it arrives.
        await topics(chats=[{"role": "user", "content": "Where & why?"}])
    as_json = await sdk.call(user.profile(need_json=True))
    assert as_json["work"]["title"]["content"] == "nurse"


@case("User.event")
async def event(sdk: Sdk) -> None:
    user = await sdk.told()
    await sdk.call(user.insert(chat("I have a cat")))
    await sdk.call(user.flush(sync=True))
    newest, oldest = await sdk.call(user.event())
    assert isinstance(newest, UserEventData)
    assert newest.created_at > oldest.created_at
    assert "Bergen" in oldest.event_data.event_tip
    deltas = {(delta.attributes["topic"], delta.attributes["sub_topic"]) for delta in oldest.event_data.profile_delta}
    assert deltas == {("contact_info", "city"), ("work", "title")}
    assert oldest.similarity is None
    assert await sdk.call(user.event(topk=1, need_summary=True)) == [newest]
    assert await sdk.call(user.event(max_token_size=1)) == []


@case("User.update_event")
async def update_event(sdk: Sdk) -> None:
    user = await sdk.told()
    (before,) = await sdk.call(user.event())
    changed = {"event_tip": "The user spoke of home.", "event_tags": [{"tag": "mood", "value": "calm"}]}
    assert await sdk.call(user.update_event(str(before.id), changed)) is True
    (after,) = await sdk.call(user.event())
    assert after.event_data.event_tip == "The user spoke of home."
    assert [(tag.tag, tag.value) for tag in after.event_data.event_tags] == [("mood", "calm")]
    assert after.event_data.profile_delta == before.event_data.profile_delta
    with pytest.raises(ServerError):
        await sdk.call(user.update_event(sdk.user_id(), changed))


@case("User.delete_event")
async def delete_event(sdk: Sdk) -> None:
    user = await sdk.told()
    (found,) = await sdk.call(user.event())
    assert await sdk.call(user.delete_event(str(found.id))) is True
    assert await sdk.call(user.event()) == []
    assert await sdk.call(user.search_event_gist("Bergen", similarity_threshold=-1.0)) == []
    with pytest.raises(ServerError):
        await sdk.call(user.delete_event(str(found.id)))


async def two_events(sdk: Sdk) -> Any:
    user = await sdk.told("I graduated from a cooking school")
    await sdk.call(user.insert(chat("I won a marathon")))
    await sdk.call(user.flush(sync=True))
    return user


@case("User.search_event")
async def search_event(sdk: Sdk) -> None:
    user = await two_events(sdk)
    found = await sdk.call(user.search_event("won a marathon", topk=2, similarity_threshold=-1.0, time_range_in_days=7))
    assert all(isinstance(each, UserEventData) for each in found)
    assert "marathon" in found[0].event_data.event_tip
    assert found[0].similarity > found[1].similarity
    assert len(await sdk.call(user.search_event("won a marathon", topk=1, similarity_threshold=-1.0))) == 1
    assert await sdk.call(user.search_event("won a marathon", similarity_threshold=1.0)) == []
    usual = await sdk.call(user.search_event("won a marathon"))
    assert "marathon" in usual[0].event_data.event_tip


@case("User.search_event_gist")
async def search_event_gist(sdk: Sdk) -> None:
    user = await two_events(sdk)
    found = await sdk.call(
        user.search_event_gist("won a marathon", topk=5, similarity_threshold=-1.0, time_range_in_days=7)
    )
    assert all(isinstance(each, UserEventGistData) for each in found)
    assert "won a marathon" in found[0].gist_data.content
    similarities = [each.similarity for each in found]
    assert similarities == sorted(similarities, reverse=True)
    assert await sdk.call(user.search_event_gist("won a marathon", similarity_threshold=1.0)) == []


@case("User.search_event_by_tags")
async def search_event_by_tags(sdk: Sdk) -> None:
    user = await two_events(sdk)
    newest, oldest = await sdk.call(user.event())
    tags = {"event_tags": [{"tag": "mood", "value": 'a "calm" one'}, {"tag": "place", "value": "home"}]}
    await sdk.call(user.update_event(str(newest.id), tags))
    await sdk.call(user.update_event(str(oldest.id), {"event_tags": [{"tag": "mood", "value": "busy"}]}))

    async def ids(**wanted: Any) -> list[uuid.UUID]:
        return [each.id for each in await sdk.call(user.search_event_by_tags(**wanted))]

    assert await ids(tags=["mood"]) == [newest.id, oldest.id]
    assert await ids(tags=["mood", "place"]) == [newest.id]
    assert await ids(tag_values={"mood": "busy"}) == [oldest.id]
    assert await ids(tag_values={"mood": 'a "calm" one'}) == [newest.id]
    assert await ids(tags=["place"], tag_values={"mood": "busy"}) == []
    assert await ids(tags=["mood"], topk=1) == [newest.id]


@case("User.context")
async def context(sdk: Sdk) -> None:
    user = await two_events(sdk)
    await sdk.call(user.add_profile("Bergen", "contact_info", "city"))
    whole = await sdk.call(user.context())
    day = datetime.now(UTC).strftime("%Y/%m/%d")
    assert (
        whole
        == f"""---
# Memory
Unless the user has relevant queries, do not actively mention those memories in the conversation.
## User Current Profile:
- contact_info::city: Bergen
- life_event::achievements: graduated from a cooking school; won a marathon

## Past Events:
- won a marathon [mention {day}] // event
- graduated from a cooking school [mention {day}] // event
---
"""
    )
    packed = await sdk.call(
        user.context(
            max_token_size=500,
            prefer_topics=["life_event", "contact_info"],
            only_topics=["contact_info"],
            max_subtopic_size=3,
            topic_limits={"contact_info": 2},
            profile_event_ratio=0.8,
            require_event_summary=True,
            time_range_in_days=7,
            full_profile_and_only_search_event=True,
            fill_window_with_events=True,
            customize_context_prompt="Known & used:\n{profile_section}\nLately:\n{event_section}",
        )
    )
    assert packed.startswith("Known & used:\n- contact_info::city: Bergen\nLately:\n- won a marathon")
    asked = await sdk.call(
        user.context(
            chats=[{"role": "user", "content": "won a marathon"}],
            event_similarity_threshold=0.8,
            full_profile_and_only_search_event=False,
        )
    )
    assert asked.count("[mention") == 1
    nobody = await sdk.call(sdk.client.get_user(sdk.user_id(), no_get=True))
    assert (await sdk.call(nobody.context())).startswith("---\n# Memory")


async def test_a_wrong_token_is_no_success(system: RunningSystem) -> None:
    client = MemoBaseClient(project_url=system.url, api_key="sk-nobody-0123")
    with client.client, pytest.raises(httpx.HTTPStatusError, match="401"):
        client.get_config()


def slots(entries: list[UserProfile]) -> dict[tuple[str, str], str]:
    return {(entry.topic, entry.sub_topic): entry.content for entry in entries}


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await holds():
            await asyncio.sleep(0.05)
