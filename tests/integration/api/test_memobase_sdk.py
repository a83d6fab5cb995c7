"""Memobase's own SDK, as it comes from PyPI, against a running system: projects and users; no method is left out."""

import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from memobase import AsyncMemoBaseClient, MemoBaseClient
from memobase.core.blob import (
    BlobType,
)
from memobase.error import ServerError

from tests.integration.api import test_memobase_memory, test_memobase_messages
from tests.support.memobase_sdk import CLIENTS, Cases, Kind, Sdk, chat, public_methods, sdk_of, until
from tests.support.running_gateway import RunningSystem

CASES = Cases()


@CASES.of("MemoBaseClient.ping")
async def ping(sdk: Sdk) -> None:
    assert await sdk.call(sdk.client.ping()) is True


@CASES.of("MemoBaseClient.close")
async def close(sdk: Sdk) -> None:
    async with AsyncMemoBaseClient(project_url=sdk.url, api_key=sdk.token) as client:
        assert await client.ping()
        await client.close()
        with pytest.raises(RuntimeError, match="closed"):
            await client.ping()


@CASES.of("MemoBaseClient.get_config")
async def get_config(sdk: Sdk) -> None:
    await sdk.call(sdk.client.update_config(""))
    assert await sdk.call(sdk.client.get_config()) == ""


@CASES.of("MemoBaseClient.update_config")
async def update_config(sdk: Sdk) -> None:
    config = "language: zh\nevent_tags:\n  - name: 情绪\n    description: 用户的情绪\n"
    assert await sdk.call(sdk.client.update_config(config)) is True
    assert await sdk.call(sdk.client.get_config()) == config
    with pytest.raises(ServerError, match="event_tags"):
        await sdk.call(sdk.client.update_config("event_tags: 3"))
    assert await sdk.call(sdk.client.get_config()) == config
    await sdk.call(sdk.client.update_config(""))


@CASES.of("MemoBaseClient.get_usage")
async def get_usage(sdk: Sdk) -> None:
    usage = await sdk.call(sdk.client.get_usage())
    assert usage.keys() == {"token_left", "next_refill_at", "project_token_cost_month"}
    assert isinstance(usage["project_token_cost_month"], int)


@CASES.of("MemoBaseClient.get_daily_usage")
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


@CASES.of("MemoBaseClient.add_user")
async def add_user(sdk: Sdk) -> None:
    made = await sdk.call(sdk.client.add_user(data={"plan": "pro"}))
    assert uuid.UUID(made).version in (4, 5)
    assert (await sdk.call(sdk.client.get_user(made))).fields["data"] == {"plan": "pro"}
    ours = sdk.user_id()
    assert await sdk.call(sdk.client.add_user(id=ours)) == ours
    with pytest.raises(ServerError):
        await sdk.call(sdk.client.add_user(data={"plan": "free"}, id=made))


@CASES.of("MemoBaseClient.update_user")
async def update_user(sdk: Sdk) -> None:
    user = await sdk.new_user(plan="pro", since=2020)
    assert await sdk.call(sdk.client.update_user(user.user_id, data={"plan": "free"})) == user.user_id
    assert (await sdk.call(sdk.client.get_user(user.user_id))).fields["data"] == {"plan": "free"}
    with pytest.raises(ServerError):
        await sdk.call(sdk.client.update_user(sdk.user_id(), data={"plan": "free"}))


@CASES.of("MemoBaseClient.get_user")
async def get_user(sdk: Sdk) -> None:
    user = await sdk.new_user(plan="pro")
    assert user.fields["data"] == {"plan": "pro"}
    assert user.fields.keys() >= {"id", "data", "created_at", "updated_at"}
    assert (await sdk.call(sdk.client.get_user(sdk.user_id(), no_get=True))).fields is None
    with pytest.raises(ServerError):
        await sdk.call(sdk.client.get_user(sdk.user_id()))


@CASES.of("MemoBaseClient.get_or_create_user")
async def get_or_create_user(sdk: Sdk) -> None:
    user_id = sdk.user_id()
    made = await sdk.call(sdk.client.get_or_create_user(user_id))
    assert (made.user_id, made.fields) == (user_id, None)
    found = await sdk.call(sdk.client.get_or_create_user(user_id))
    assert found.fields["created_at"] is not None


@CASES.of("MemoBaseClient.delete_user")
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


@CASES.of("MemoBaseClient.get_all_users")
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


@CASES.parametrized()
async def test_a_method_of_both_clients_does_what_it_says(kind: Kind, method: str, system: RunningSystem) -> None:
    # A project for each client, since some methods speak of all users of a project.
    async with sdk_of(kind, system.url, system.token(f"sdk-{kind}")) as sdk:
        await CASES[method](sdk)


def test_every_public_method_has_a_case() -> None:
    cases = CASES.keys() | test_memobase_messages.CASES.keys() | test_memobase_memory.CASES.keys()
    assert cases == {method for classes in CLIENTS.values() for method in public_methods(*classes)}


async def test_a_wrong_token_is_no_success(system: RunningSystem) -> None:
    client = MemoBaseClient(project_url=system.url, api_key="sk-nobody-0123")
    with client.client, pytest.raises(httpx.HTTPStatusError, match="401"):
        client.get_config()
