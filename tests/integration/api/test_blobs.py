"""Blobs over HTTP on a running system: inserted, waited for, found, listed, flushed, imported and deleted."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.running_gateway import RunningSystem


@pytest.fixture
def http(system: RunningSystem) -> Iterator[httpx.Client]:
    """A client of the shared gateway, as root."""
    with client_of(system) as client:
        yield client


@contextmanager
def client_of(system: RunningSystem, **headers: str) -> Iterator[httpx.Client]:
    with system.client(**headers) as client:
        client.base_url = httpx.URL(f"{system.url}/api/v1")
        yield client


def data_of(response: httpx.Response) -> Any:
    """What a success holds; anything else is an AssertionError."""
    assert response.status_code == 200, response.text
    document = response.json()
    assert document["errno"] == 0, document
    return document["data"]


def errno_of(response: httpx.Response) -> int:
    return int(response.json()["errno"])


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"blob_type": "chat", "blob_data": {"messages": [{"role": "user", "content": text}]}, **more}


def insert(http: httpx.Client, user: str, body: dict[str, Any], *, wait: bool = False, key: str | None = None) -> Any:
    query = f"?wait_process={wait}"
    return data_of(http.post(f"/blobs/insert/{user}{query}", json=body, headers=under(key)))


def under(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


def flush(http: httpx.Client, user: str, blob_type: str = "chat") -> Any:
    return data_of(http.post(f"/users/buffer/{user}/{blob_type}?wait_process=true"))


def ids(http: httpx.Client, user: str, query: str = "", blob_type: str = "chat") -> list[str]:
    found: list[str] = data_of(http.get(f"/users/blobs/{user}/{blob_type}{query}"))["ids"]
    return found


def state(http: httpx.Client, user: str, blob_id: str) -> tuple[str, str | None]:
    found = data_of(http.get(f"/blobs/{user}/{blob_id}/state"))
    return found["state"], found["reason"]


def capacity(http: httpx.Client, user: str, status: str) -> list[str]:
    found: list[str] = data_of(http.get(f"/users/buffer/capacity/{user}/chat?status={status}"))["ids"]
    return found


def contents(http: httpx.Client, user: str) -> list[str]:
    return sorted(entry["content"] for entry in data_of(http.get(f"/users/profile/{user}"))["profiles"])


def test_a_blob_goes_from_the_buffer_into_memory_and_its_text_stays_readable(http: httpx.Client) -> None:
    body = chat("I moved to Oslo", fields={"channel": "web"}, created_at="2026-11-01T10:00:00Z")
    inserted = insert(http, "ann", body)
    blob_id = inserted["id"]
    assert UUID(blob_id).version in (4, 5)
    assert (inserted["chat_results"], inserted["state"]) == ([], "unread")
    found = data_of(http.get(f"/blobs/ann/{blob_id}"))
    assert (found["blob_type"], found["fields"], found["state"]) == ("chat", {"channel": "web"}, "buffered")
    assert found["blob_data"]["messages"][0]["content"] == "I moved to Oslo"
    assert found["created_at"].startswith("2026-11-01T10:00:00")
    assert (ids(http, "ann"), capacity(http, "ann", "idle")) == ([blob_id], [blob_id])

    (result,) = flush(http, "ann")
    assert result["event_id"]
    assert result["add_profiles"]
    assert state(http, "ann", blob_id) == ("applied", None)
    assert data_of(http.get(f"/blobs/ann/{blob_id}"))["blob_data"] == found["blob_data"]
    assert (ids(http, "ann"), capacity(http, "ann", "idle"), capacity(http, "ann", "done")) == (
        [blob_id],
        [],
        [blob_id],
    )
    assert flush(http, "ann") == []


def test_a_flush_that_is_not_waited_for_answers_nothing(http: httpx.Client) -> None:
    assert data_of(http.post("/users/buffer/abe/chat")) is None


def test_an_insert_that_waits_tells_that_it_is_buffered_or_what_came_of_its_window(http: httpx.Client) -> None:
    small = insert(http, "bea", chat("I live in Oslo"), wait=True)
    assert (small["state"], small["chat_results"]) == ("buffered", [])
    large = insert(http, "bea", chat("I work at Acme. " + "Nothing much happened today. " * 300), wait=True)
    assert large["state"] == "applied"
    (result,) = large["chat_results"]
    assert result["event_id"]
    assert result["add_profiles"]


def test_a_retry_under_the_same_id_or_key_changes_nothing(http: httpx.Client) -> None:
    for first, key in ((chat("one", id="blob/1 ü"), None), (chat("two"), "retry-1")):
        blob_id = insert(http, "carl", first, key=key)["id"]
        assert insert(http, "carl", first, wait=True, key=key)["id"] == blob_id
        other = http.post("/blobs/insert/carl", json={**first, **chat("something else")}, headers=under(key))
        assert errno_of(other) == 409
    flush(http, "carl")
    assert len(ids(http, "carl")) == 2
    again = insert(http, "carl", chat("one", id="blob/1 ü"), wait=True)
    assert (again["id"], again["state"]) == ("blob/1 ü", "applied")
    assert insert(http, "dora", chat("two"), key="retry-1")["id"] not in ids(http, "carl")
    assert state(http, "carl", "blob%2F1%20%C3%BC") == ("applied", None)


def test_what_cannot_be_applied_is_refused_before_it_is_sent(http: httpx.Client) -> None:
    role = {"blob_type": "chat", "blob_data": {"messages": [{"role": "system", "content": "secret words"}]}}
    for body in (role, {"blob_type": "doc", "blob_data": {}}, chat("x" * (1 << 20))):
        response = http.post("/blobs/insert/eve", json=body)
        assert (response.status_code, errno_of(response)) == (200, 400)
        assert "secret words" not in response.text
    assert http.post("/blobs/insert/eve", json=chat("x") | {"blob_type": "fax"}).status_code == 422
    assert ids(http, "eve") == []


def test_an_empty_list_of_messages_is_answered_with_an_id_and_leaves_nothing(http: httpx.Client) -> None:
    answer = insert(http, "fred", {"blob_type": "chat", "blob_data": {"messages": []}}, wait=True)
    assert UUID(answer["id"]).version in (4, 5)
    assert (answer["chat_results"], answer["state"]) == ([], None)
    assert ids(http, "fred") == []


def test_lists_are_paged_from_memory_into_the_buffer(http: httpx.Client) -> None:
    names = [f"b{number}" for number in range(7)]
    for name in names[:4]:
        insert(http, "gus", chat(f"I said {name}", id=name))
    flush(http, "gus")
    for name in names[4:]:
        insert(http, "gus", chat(f"I said {name}", id=name))
    assert [ids(http, "gus", f"?page={page}&page_size=3") for page in range(4)] == [
        names[:3],
        names[3:6],
        names[6:],
        [],
    ]
    listed = data_of(http.get("/users/blobs/gus/chat?states=true"))["blobs"]
    assert [one["state"] for one in listed] == ["applied"] * 4 + ["buffered"] * 3
    insert(http, "gus", {"blob_type": "doc", "blob_data": {"content": "a document"}, "id": "d1"})
    assert (ids(http, "gus", blob_type="doc"), ids(http, "gus", blob_type="code")) == (["d1"], [])
    assert len(flush(http, "gus", "doc")) == 1
    assert ids(http, "gus", blob_type="doc") == ["d1"]


def test_a_parked_blob_tells_why(http: httpx.Client) -> None:
    image = {"blob_type": "image", "blob_data": {"url": "https://example.com/a.png"}, "id": "picture"}
    insert(http, "hal", image)
    flush(http, "hal", "image")
    assert state(http, "hal", "picture") == ("parked", "unsupported-content")
    found = data_of(http.get("/blobs/hal/picture"))
    assert (found["state"], found["blob_data"]) == ("parked", image["blob_data"])
    listed = data_of(http.get("/users/blobs/hal/image?states=1"))["blobs"]
    assert listed == [{"id": "picture", "state": "parked", "reason": "unsupported-content"}]
    failed = data_of(http.get("/users/buffer/capacity/hal/image?status=failed"))
    assert failed == {"ids": ["picture"]}


def test_deleting_a_blob_takes_what_memory_holds_of_it_alone(http: httpx.Client) -> None:
    insert(http, "ida", chat("I work at Acme", id="job"))
    insert(http, "ida", chat("My name is Ida", id="name"))
    flush(http, "ida")
    assert contents(http, "ida") == ["Acme", "Ida"]
    assert data_of(http.delete("/blobs/ida/job")) is None
    assert contents(http, "ida") == ["Ida"]
    assert errno_of(http.get("/blobs/ida/job")) == 404
    assert errno_of(http.get("/blobs/ida/job/state")) == 404
    assert ids(http, "ida") == ["name"]
    assert data_of(http.delete("/blobs/ida/job")) is None
    assert errno_of(http.post("/blobs/insert/ida", json=chat("I work at Acme", id="job"))) == 409


def test_a_buffered_blob_that_is_deleted_is_never_applied(http: httpx.Client) -> None:
    insert(http, "jan", chat("I work at Acme", id="job"), wait=True)
    assert data_of(http.delete("/blobs/jan/job")) is None
    assert (ids(http, "jan"), capacity(http, "jan", "idle")) == ([], [])
    flush(http, "jan")
    assert contents(http, "jan") == []
    assert errno_of(http.get("/blobs/jan/job")) == 404


def test_importing_a_text_answers_when_it_is_in_memory(http: httpx.Client) -> None:
    assert data_of(http.post("/users/profile/import/kim", json={"context": "I work at Acme"})) is None
    assert contents(http, "kim") == ["Acme"]
    assert data_of(http.post("/users/profile/import/kim", json={"context": "  "})) is None


def test_another_text_under_the_same_key_is_not_said_to_be_imported(http: httpx.Client) -> None:
    path, key = "/users/profile/import/uma", {"Idempotency-Key": "about-uma"}
    for _ in range(2):
        assert data_of(http.post(path, json={"context": "I work at Acme"}, headers=key)) is None
    assert errno_of(http.post(path, json={"context": "My name is Uma"}, headers=key)) == 409
    assert contents(http, "uma") == ["Acme"]


def test_unknown_users_and_blobs_are_empty_or_not_found(http: httpx.Client) -> None:
    assert ids(http, "nobody") == []
    response = http.get(f"/blobs/nobody/{uuid4()}")
    assert (response.status_code, errno_of(response)) == (200, 404)
    assert response.json()["data"] is None
    response = http.get(f"/blobs/nobody/{uuid4()}/state")
    assert (response.status_code, errno_of(response)) == (404, 404)
    assert data_of(http.delete(f"/blobs/nobody/{uuid4()}")) is None


def test_a_user_of_another_project_is_another_user(system: RunningSystem, http: httpx.Client) -> None:
    insert(http, "lea", chat("I work at Acme", id="job"), wait=True)
    with client_of(system, **{"X-Memostream-Project": "other"}) as other:
        assert ids(other, "lea") == []
        assert errno_of(other.get("/blobs/lea/job")) == 404
        assert data_of(other.delete("/blobs/lea/job")) is None
    assert ids(http, "lea") == ["job"]
