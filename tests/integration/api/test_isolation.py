"""Two projects with the same user ids: whatever a token of one asks for, nothing of the other is told or changed.

Every route takes part, also those that will be added; through a gateway that relies on its queries alone, and through
one that has row-level security besides.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from storage.project_tokens import project_of
from tests.support.http_calls import OF_ROOT, OPEN, Call, Ids, operations, reads
from tests.support.running_gateway import RunningSystem

API = "/api/v1"
# Nobody says these words but the users of one project.
SHOP, BLOG = "Shopville", "Blogtown"


@dataclass(frozen=True)
class Tenant:
    """A project with all kinds of memory of a user `ann`."""

    token: str
    client: httpx.Client
    ids: Ids

    @classmethod
    def of(cls, client: httpx.Client, token: str, words: str) -> "Tenant":
        project_id = project_of(token)
        ids = Ids(words=words, blob_id=f"applied in {project_id}")
        config = f"event_theme_requirement: {words}"
        checked(client.post(f"{API}/project/profile_config", json={"profile_config": config}))
        checked(client.post(f"{API}/users", json={"id": "ann", "data": {"note": words}}))
        say(client, ids.blob_id, f"I moved to {words}")
        checked(client.post(f"{API}/users/buffer/ann/chat?wait_process=true"))
        say(client, f"buffered in {project_id}", f"I am still in {words}")
        entry = {"content": words, "attributes": {"topic": "by_hand", "sub_topic": words}}
        profile_id = checked(client.post(f"{API}/users/profile/ann", json=entry))["id"]
        event_id = checked(client.get(f"{API}/users/event/ann"))["events"][0]["id"]
        tags = {"event_tags": [{"tag": "mood", "value": words}]}
        checked(client.put(f"{API}/users/event/ann/{event_id}", json=tags))
        return cls(token, client, replace(ids, profile_id=profile_id, event_id=event_id))

    def view(self, document: Any, client: httpx.Client | None = None) -> dict[str, str]:
        """What the project sees of itself, by route; through another gateway, where a client of that is given."""
        return {call.name: checked_text(call.send(client or self.client)) for call in reads(document, self.ids)}


def say(client: httpx.Client, blob_id: str, text: str) -> None:
    blob = {"blob_type": "chat", "id": blob_id, "blob_data": {"messages": [{"role": "user", "content": text}]}}
    checked(client.post(f"{API}/blobs/insert/ann", params={"wait_process": "True"}, json=blob))


def checked(response: httpx.Response) -> Any:
    body = response.json()
    assert (response.status_code, body["errno"]) == (200, 0), (response.request.url.path, response.text)
    return body["data"]


def checked_text(response: httpx.Response) -> str:
    if response.headers["content-type"].startswith("application/json"):
        checked(response)
    assert response.status_code == 200
    return response.text


def errno_of(response: httpx.Response) -> int:
    """The number in the body where there is one, else the status."""
    if not response.headers.get("content-type", "").startswith("application/json"):
        return response.status_code
    return int(response.json().get("errno", response.status_code)) or response.status_code


def tells(response: httpx.Response, words: str) -> bool:
    told = response.text + " ".join(response.headers.values())
    return words.casefold() in told.casefold()


@dataclass(frozen=True)
class Town:
    """A victim, and whoever wants to reach into it, through each gateway."""

    shop: Tenant
    blog: Tenant
    gateways: tuple[RunningSystem, ...]
    document: Any

    def intruders(self) -> Iterator[httpx.Client]:
        """Holders of the other project's token."""
        for gateway in self.gateways:
            with gateway.client(self.blog.token) as client:
                yield client


@pytest.fixture(scope="module")
def town(system: RunningSystem) -> Iterator[Town]:
    with ExitStack() as stack:
        secure = stack.enter_context(system.another_gateway(MEMOSTREAM_API__ROW_LEVEL_SECURITY="true"))
        tenants = []
        for gateway, project_id, words in ((system, "shop", SHOP), (secure, "blog", BLOG)):
            token = gateway.token(project_id)
            tenants.append(Tenant.of(stack.enter_context(gateway.client(token)), token, words))
        shop, blog = tenants
        yield Town(shop, blog, (system, secure), shop.client.get("/openapi.json").json())


def test_a_project_sees_what_is_its_own_on_every_route_that_tells_of_users(town: Town) -> None:
    silent = {"GET /api/v1/project/billing", "GET /api/v1/project/usage"}
    by_id = {"GET /api/v1/blobs/{user_id}/{blob_id}/state", "GET /api/v1/users/buffer/capacity/{user_id}/{buffer_type}"}
    by_id |= {"GET /api/v1/users/blobs/{user_id}/{blob_type}"}
    for tenant, words, project_id in ((town.shop, SHOP, "shop"), (town.blog, BLOG, "blog")):
        for gateway in town.gateways:
            with gateway.client(tenant.token) as client:
                for name, told in tenant.view(town.document, client).items():
                    expected = f"in {project_id}" if name in by_id else words
                    assert name in silent or expected in told, name


def test_no_route_tells_or_changes_what_is_anothers(town: Town) -> None:
    before = settled_view(town)
    for client in town.intruders():
        for call in operations(town.document, replace(town.shop.ids, words=BLOG)):
            response = call.send(client)
            assert not tells(response, SHOP), call.name
            assert errno_of(response) < 500 or call.template in MODELS, (call.name, response.text)
    assert settled_view(town) == before


def settled_view(town: Town) -> dict[str, str]:
    """Without the stream of changes, in which the project's own may still arrive."""
    view = town.shop.view(town.document)
    assert BLOG not in view.pop(f"GET {API}/changes")
    return view


# Without a chat model these are errno 501.
MODELS = {f"{API}/users/roleplay/proactive/{{user_id}}"}


@pytest.mark.parametrize("user_id", ["shop/ann", "../shop/ann", "%"])
def test_no_name_of_a_user_leads_to_another_project(town: Town, user_id: str) -> None:
    for client in town.intruders():
        for call in reads(town.document, replace(town.shop.ids, user_id=user_id)):
            if "{user_id}" in call.template:
                assert not tells(call.send(client), SHOP), call.name


def test_naming_another_project_is_refused_or_means_nothing(town: Town) -> None:
    named = {"project_id": "shop", "project": "shop"}
    for client in town.intruders():
        for call in reads(town.document, town.shop.ids):
            refused = call.send(client, headers={"X-Memostream-Project": "shop"})
            assert errno_of(refused) == 403, call.name
            response = client.get(call.path, params=httpx.QueryParams([*call.query, *named.items()]))
            assert not tells(response, SHOP), call.name
        blob = {"blob_type": "doc", "blob_data": {"content": BLOG}, **named}
        checked(client.post(f"{API}/blobs/insert/eve", json={**blob, "fields": named}))
        checked(client.post(f"{API}/users", json={"id": "eve", "data": named, **named}))
    assert checked(town.shop.client.get(f"{API}/project/users", params={"search": "eve"}))["count"] == 0


def test_the_change_stream_shows_one_project_from_wherever_it_begins(town: Town) -> None:
    (stream,) = [call for call in reads(town.document, town.shop.ids) if call.template == f"{API}/changes"]
    for tenant in (town.shop, town.blog):
        entry = {"content": tenant.ids.words, "attributes": {"topic": "by_hand", "sub_topic": "stream"}}
        checked(tenant.client.post(f"{API}/users", json={"id": "zoe"}))
        checked(tenant.client.post(f"{API}/users/profile/zoe", json=entry))
        # What is written is published a little later.
        with tenant.client.stream("GET", stream.path, params={"after": "earliest", "user_id": "zoe"}) as told:
            assert any(tenant.ids.words in line for line in told.iter_lines())
    cursors = [line.removeprefix("id: ") for line in stream.send(town.shop.client).text.splitlines() if "id: " in line]
    assert len(cursors) > 2
    for client in town.intruders():
        own = stream.send(client)
        assert tells(own, BLOG)
        assert not tells(own, SHOP)
        for user_id in ("zoe", "shop/zoe"):
            told = client.get(stream.path, params=httpx.QueryParams([*stream.query, ("user_id", user_id)]))
            assert not tells(told, SHOP)
            assert tells(told, BLOG) is (user_id == "zoe")
        for cursor in (cursors[0], cursors[-1]):
            assert not tells(stream.send(client, headers={"Last-Event-ID": cursor}), SHOP)


def test_every_route_asks_for_a_token_that_holds(town: Town, system: RunningSystem) -> None:
    revoked = system.token("shop")
    system.shell.call("project", "revoke", "shop", revoked)
    wrong = (None, "", "Bearer", "Bearer wrong", f"Bearer {town.shop.token}0", f"Bearer {revoked}", town.shop.token)
    with httpx.Client(base_url=system.url) as client:
        for call in operations(town.document, town.shop.ids):
            for authorization in wrong:
                headers = {} if authorization is None else {"Authorization": authorization}
                response = call.send(client, headers=headers)
                if call.template in OPEN:
                    assert response.status_code == 200, call.name
                else:
                    assert (response.status_code, response.json()["errno"]) == (401, 401), call.name
                assert not tells(response, SHOP), call.name


def test_what_acts_on_the_installation_is_for_root_alone(town: Town) -> None:
    assert set(town.document["paths"]) >= OF_ROOT
    for client in town.intruders():
        for template in OF_ROOT:
            response = Call("get", template, Ids()).send(client)
            assert (response.status_code, response.json().keys()) == (405, {"detail"})


def test_a_project_that_is_suspended_is_closed_on_every_route(town: Town, system: RunningSystem) -> None:
    token = system.token("closed")
    system.shell.call("project", "suspend", "closed")
    with system.client(token) as client:
        for call in operations(town.document, Ids()):
            if call.template not in OPEN:
                response = call.send(client)
                assert (response.status_code, response.json()["errno"]) == (401, 401), call.name
                assert response.json()["errmsg"] == "403: the project is suspended"


def test_a_stream_that_is_open_ends_when_its_token_is_revoked(town: Town, system: RunningSystem) -> None:
    token = system.token("shop")
    with system.client(token) as client, client.stream("GET", f"{API}/changes", params={"after": "earliest"}) as told:
        lines = told.iter_lines()
        assert any(SHOP in line for line in lines)
        system.shell.call("project", "revoke", "shop", token)
        assert any("revoked" in line for line in lines)
