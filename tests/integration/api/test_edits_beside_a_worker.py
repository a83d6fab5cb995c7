"""Edits by hand on a running system: what is in the buffer and on the topics goes along with them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from tests.support.running_gateway import RunningSystem

# Machines that run tests are slow.
DEADLINE_S = 60.0
FOODS = {"topic": "interest", "sub_topic": "foods"}


@pytest.fixture
def http(system: RunningSystem) -> Iterator[httpx.Client]:
    with system.client() as client:
        client.base_url = httpx.URL(f"{system.url}/api/v1")
        yield client


def data_of(response: httpx.Response, errno: int = 0) -> Any:
    assert response.status_code == 200, response.text
    document = response.json()
    assert document["errno"] == errno, document
    return document["data"]


def say(http: httpx.Client, user: str, text: str) -> str:
    body = {"blob_type": "chat", "blob_data": {"messages": [{"role": "user", "content": text}]}}
    identifier: str = data_of(http.post(f"/blobs/insert/{user}", json=body))["id"]
    return identifier


def flush(http: httpx.Client, user: str) -> None:
    data_of(http.post(f"/users/buffer/{user}/chat?wait_process=true"))


def contents(http: httpx.Client, user: str) -> list[str]:
    return sorted(entry["content"] for entry in data_of(http.get(f"/users/profile/{user}"))["profiles"])


async def _states(system: RunningSystem, kafka_bootstrap: str, key: str, wanted: int) -> list[Any]:
    """What `profiles` holds under a key, from the beginning, as soon as it is so many records."""
    prefix = system.shell.environment["MEMOSTREAM_KAFKA__TOPIC_PREFIX"]
    consumer = AIOKafkaConsumer(
        f"{prefix}profiles",
        bootstrap_servers=kafka_bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    found: list[Any] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < wanted:
                record = await consumer.getone()
                if record.key == key.encode():
                    found.append(None if record.value is None else orjson.loads(record.value))
    finally:
        await consumer.stop()
    return found


def test_an_edit_is_readable_at_once_and_published(
    http: httpx.Client, system: RunningSystem, kafka_bootstrap: str
) -> None:
    data_of(http.post("/users", json={"id": "edda"}))
    entry = data_of(http.post("/users/profile/edda", json={"content": "figs", "attributes": FOODS}))
    assert contents(http, "edda") == ["figs"]
    data_of(http.put(f"/users/profile/edda/{entry['id']}", json={"content": "dates", "attributes": None}))
    assert contents(http, "edda") == ["dates"]
    states = asyncio.run(_states(system, kafka_bootstrap, "default/edda", 3))
    assert [[item["content"] for item in state["profile"]] for state in states] == [[], ["figs"], ["dates"]]
    assert [state["revision"] for state in states] == [1, 2, 3]


def test_what_was_said_before_an_entry_was_removed_does_not_bring_it_back(http: httpx.Client) -> None:
    say(http, "egon", "I live in Oslo.")
    flush(http, "egon")
    (entry,) = data_of(http.get("/users/profile/egon"))["profiles"]
    say(http, "egon", "I live in Oslo. I have a dog.")
    data_of(http.delete(f"/users/profile/egon/{entry['id']}"))
    flush(http, "egon")
    assert not any("Oslo" in content for content in contents(http, "egon"))
    assert any("dog" in content for content in contents(http, "egon"))


def test_a_deleted_user_is_gone_from_memory_buffer_and_topics_and_may_come_back(
    http: httpx.Client, system: RunningSystem, kafka_bootstrap: str
) -> None:
    say(http, "elsa", "I live in Oslo.")
    assert data_of(http.get("/users/elsa"))["data"] is None
    flush(http, "elsa")
    assert contents(http, "elsa") == ["Oslo"]
    say(http, "elsa", "I work as a nurse.")

    data_of(http.delete("/users/elsa"))
    data_of(http.get("/users/elsa"), errno=404)
    assert contents(http, "elsa") == []
    assert data_of(http.get("/users/buffer/capacity/elsa/chat?status=idle"))["ids"] == []
    data_of(http.delete("/users/elsa"), errno=404)
    # What is made at once outlasts the command, to which the worker comes now or later.
    data_of(http.post("/users", json={"id": "elsa", "data": {"name": "Elsa"}}))
    data_of(http.post("/users/profile/elsa", json={"content": "figs", "attributes": FOODS}))
    say(http, "elsa", "I have a dog.")
    flush(http, "elsa")

    assert data_of(http.get("/users/elsa"))["data"] == {"name": "Elsa"}
    assert "figs" in contents(http, "elsa")
    assert any("dog" in content for content in contents(http, "elsa"))
    assert not {"Oslo", "nurse"} & set(contents(http, "elsa"))
    before, tombstone, made, *_ = asyncio.run(_states(system, kafka_bootstrap, "default/elsa", 4))
    assert ([item["content"] for item in before["profile"]], tombstone, made["profile"]) == (["Oslo"], None, [])
    assert made["revision"] > before["revision"]
    assert system.shell.document("audit", "--json")["counts"]["missing"] == 0
