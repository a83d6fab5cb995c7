"""Routes 3 to 7: a project's configuration, budget, users and usage, with and without row-level security."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from api.gateway import Gateway
from schemas.budgets import BudgetSettings
from schemas.settings import Settings
from schemas.settings_api import ApiSettings
from storage.project_tokens import add_token, new_token
from storage.row_security import prepare_role
from storage.tables import users
from tests.support.http_gateway import NOW, client_of, gateway_on

RIGHT = "profile_strict_mode: true\noverwrite_user_profiles:\n- {topic: Plan, sub_topics: [tier]}\n"
PREFIX = "/api/v1/project"


both = pytest.mark.parametrize("gateway", [False, True], ids=["plain", "row_level_security"], indirect=True)


@pytest.fixture
async def gateway(engine: AsyncEngine, request: pytest.FixtureRequest) -> Gateway:
    is_secure: bool = getattr(request, "param", False)
    if is_secure:
        await prepare_role(engine)
    budget = BudgetSettings(project_tokens_a_day=1000)
    return gateway_on(engine, Settings(api=ApiSettings(row_level_security=is_secure), budget=budget))


async def token_of(gateway: Gateway, project_id: str) -> str:
    token = new_token(project_id)
    async with gateway.engine.begin() as connection:
        await add_token(connection, project_id, token, None, NOW)
    return token


@pytest.fixture
async def shop(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gateway, await token_of(gateway, "shop")) as client:
        yield client


@pytest.fixture
async def blog(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gateway, await token_of(gateway, "blog")) as client:
        yield client


async def answer(client: httpx.AsyncClient, path: str, **parameters: Any) -> Any:
    return checked(await client.get(f"{PREFIX}/{path}", params=parameters))


def checked(response: httpx.Response, errno: int = 0) -> Any:
    assert response.status_code == 200
    body = response.json()
    assert (body.keys(), body["errno"]) == ({"data", "errno", "errmsg"}, errno), body
    return body["data"] if errno == 0 else body["errmsg"]


async def set_config(client: httpx.AsyncClient, text: str | None, errno: int = 0) -> Any:
    return checked(await client.post(f"{PREFIX}/profile_config", json={"profile_config": text}), errno)


@both
async def test_a_configuration_is_read_as_it_was_set_until_it_is_removed(
    shop: httpx.AsyncClient, blog: httpx.AsyncClient
) -> None:
    assert await answer(shop, "profile_config") == {"profile_config": ""}
    for nothing in (None, ""):
        assert await set_config(shop, RIGHT) is None
        assert await answer(shop, "profile_config") == {"profile_config": RIGHT}
        assert await answer(blog, "profile_config") == {"profile_config": ""}
        assert await set_config(shop, nothing) is None
        assert await answer(shop, "profile_config") == {"profile_config": ""}


async def test_a_wrong_configuration_is_named_and_leaves_the_one_that_was_set(shop: httpx.AsyncClient) -> None:
    await set_config(shop, RIGHT)
    for text, told in (
        ("event_tags: 3", "event_tags: must be a list (line 1)"),
        ("additional_user_profiles:\n- topic: plan", "topic 1, sub_topics: is missing (line 2)"),
        ("lang: en", "unknown key lang; did you mean language?"),
        ("x" * 65_536, "65536 characters, at most 65535 are taken"),
        ("a\x00b: 1", "no YAML"),
        ('"\\ud800": 1', "the text: Input should be a valid string"),
        ("profile_strict_mode: true\noverwrite_user_profiles: []", "nothing could be kept"),
    ):
        assert told in await set_config(shop, text, errno=400)
    assert await answer(shop, "profile_config") == {"profile_config": RIGHT}


async def test_a_body_without_its_key_is_told_so(shop: httpx.AsyncClient) -> None:
    response = await shop.post(f"{PREFIX}/profile_config", json={})
    assert response.status_code == 422
    assert [item["loc"] for item in response.json()["detail"]] == [["body", "profile_config"]]


@both
async def test_users_of_the_project_come_with_what_memobase_tells_of_them(
    gateway: Gateway, shop: httpx.AsyncClient
) -> None:
    async with gateway.engine.begin() as connection:
        for project_id, fields in (("shop", {"plan": "free"}), ("blog", {"secret": "of another project"})):
            times = {"created_at": NOW, "updated_at": NOW}
            row = {"project_id": project_id, "user_id": "a/b c", "additional_fields": fields, **times}
            await connection.execute(insert(users).values(**row, profile_count=2))
    moment = "2026-11-20T10:00:00+00:00"
    expected = {
        "id": "a/b c",
        "project_id": "shop",
        "additional_fields": {"plan": "free"},
        "created_at": moment,
        "updated_at": moment,
        "profile_count": 2,
        "event_count": 0,
    }
    asked: dict[str, Any] = {"search": "A/B", "order_by": "event_count", "order_desc": "False", "limit": 5, "offset": 0}
    assert await answer(shop, "users", **asked) == {"users": [expected], "count": 1}
    assert await answer(shop, "users", search="nobody") == {"users": [], "count": 0}


async def test_a_page_that_cannot_be_is_refused(shop: httpx.AsyncClient) -> None:
    for name, value in (
        ("limit", -1),
        ("limit", 1001),
        ("offset", 1 << 31),
        ("order_by", "additional_fields; --"),
        ("search", "a\x00b"),
        ("search", "x" * 256),
        ("order_desc", "maybe"),
    ):
        response = await shop.get(f"{PREFIX}/users", params={name: value})
        assert response.status_code == 422
        assert [item["loc"] for item in response.json()["detail"]] == [["query", name]]


@both
async def test_usage_counts_inserts_by_day_and_billing_tells_the_budget(
    gateway: Gateway, shop: httpx.AsyncClient
) -> None:
    for stored in (True, True, False):
        gateway.inserts.count("shop", stored=stored)
    gateway.inserts.count("blog", stored=True)
    await gateway.inserts.flush()
    days = await answer(shop, "usage", last_days=2)
    nothing = {"total_insert": 0, "total_success_insert": 0, "total_input_token": 0, "total_output_token": 0}
    assert days == [
        {**nothing, "date": "2026-11-20", "total_insert": 3, "total_success_insert": 2},
        {**nothing, "date": "2026-11-19"},
    ]
    assert len(await answer(shop, "usage")) == 7
    assert await answer(shop, "billing") == {
        "token_left": 1000,
        "next_refill_at": "2026-11-21T00:00:00+00:00",
        "project_token_cost_month": 0,
    }


@both
async def test_the_root_token_acts_on_the_project_that_its_header_names(
    gateway: Gateway, shop: httpx.AsyncClient
) -> None:
    async with client_of(gateway, **{"X-Memostream-Project": "shop"}) as root:
        await set_config(root, RIGHT)
    assert await answer(shop, "profile_config") == {"profile_config": RIGHT}
    async with client_of(gateway) as root:
        assert await answer(root, "profile_config") == {"profile_config": ""}
