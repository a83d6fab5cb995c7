"""The changes of a running system over HTTP."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.running_gateway import RunningSystem

CHANGES = "/api/v1/changes"


@dataclass(frozen=True)
class Event:
    """One server-sent event; without `data` it only moves the id on."""

    id: str
    name: str = ""
    data: Any = None


class Told:
    """An open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()

    def events(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in self._lines:
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif not line and fields:
                data = json.loads(fields["data"]) if "data" in fields else None
                yield Event(fields["id"], fields.get("event", ""), data)
                fields = {}

    def begin(self) -> str:
        """The id at which the stream begins."""
        return next(self.events()).id

    def next(self) -> Event:
        """The next one that says something."""
        return next(event for event in self.events() if event.name)


@contextmanager
def stream(client: httpx.Client, last_id: str = "", **wanted: Any) -> Iterator[Told]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with client.stream("GET", CHANGES, params=wanted, headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Told(response)


@pytest.fixture(scope="module")
def client(system: RunningSystem) -> Iterator[httpx.Client]:
    with system.client(system.token("changing")) as client:
        yield client


def write(client: httpx.Client, user_id: str, content: str, sub_topic: str = "city") -> None:
    entry = {"content": content, "attributes": {"topic": "contact_info", "sub_topic": sub_topic}}
    answer = client.post(f"/api/v1/users/profile/{user_id}", json=entry)
    assert answer.json()["errno"] == 0, answer.text


def contents(events: list[Event]) -> list[str]:
    return [event.data["data"]["after"]["content"] for event in events]


def test_a_stream_tells_what_changes_and_goes_on_exactly_behind_the_last_id(client: httpx.Client) -> None:
    client.post("/api/v1/users", json={"id": "ann"})
    with stream(client, user_id="ann") as told:
        began = told.begin()
        write(client, "ann", "Bergen")
        write(client, "ann", "Norway", "country")
        first, second = told.next(), told.next()
    assert first.name == "profile-updated"
    assert first.data.keys() >= {"specversion", "id", "type", "source", "subject", "time", "data"}
    assert (first.data["type"], first.data["subject"]) == ("memostream.profile.updated.v1", "ann")
    assert (first.data["data"]["op"], contents([first, second])) == ("c", ["Bergen", "Norway"])
    write(client, "ann", "ann@example.org", "email")
    with stream(client, first.id, user_id="ann", limit=2) as told:
        events = [event for event in told.events() if event.name]
    assert contents(events[:2]) == ["Norway", "ann@example.org"]
    assert (events[2].name, events[2].data["reason"], events[2].id) == ("end", "limit", events[1].id)
    # The header is stronger, for that is what a browser sends when it comes back to the same address.
    with stream(client, events[1].id, after=began, user_id="ann", follow=False) as told:
        assert [event.name for event in told.events()] == ["", "end"]


def test_a_stream_is_of_the_users_and_the_topics_that_were_asked_for(client: httpx.Client) -> None:
    for user_id in ("ben", "cat", "a/b &"):
        client.post("/api/v1/users", json={"id": user_id})
    with stream(client, user_id=["ben", "a/b &"], topic=["profiles", "profile-updated"]) as told:
        told.begin()
        write(client, "cat", "Oslo")
        write(client, "a%2Fb%20&", "Rome")
        write(client, "ben", "Paris")
        wanted = {(name, user) for name in ("profiles", "profile-updated") for user in ("a/b &", "ben")}
        seen: set[tuple[str, str]] = set()
        while seen < wanted:
            event = told.next()
            seen.add((event.name, event.data["subject"]))
    assert seen == wanted


def test_whoever_deletes_a_user_is_followed_by_a_tombstone_and_what_was_told_is_not_told_again(
    client: httpx.Client,
) -> None:
    client.post("/api/v1/users", json={"id": "dora"})
    with stream(client, user_id="dora", topic=["profiles", "profile-updated"]) as told:
        began = told.begin()
        write(client, "dora", "Bergen")
        while told.next().name != "profile-updated":
            pass
        client.delete("/api/v1/users/dora")
        while (event := told.next()).name != "profiles" or "data" in event.data:
            pass
        assert event.data["subject"] == "dora"
    with stream(client, began, user_id="dora", topic=["profiles", "profile-updated"], follow=False) as told:
        assert [event.name for event in told.events()] == ["", "profiles", "end"]


@pytest.mark.parametrize(
    ("params", "headers", "status"),
    [
        ({"after": "yesterday"}, {}, 400),
        ({}, {"Last-Event-ID": "v1-1"}, 400),
        ({"after": "v1-1-1-1"}, {"Last-Event-ID": "nonsense"}, 400),
        ({"after": "v1-99999999-0-0"}, {}, 410),
        ({"topic": "dead-letters"}, {}, 422),
        ({"limit": 0}, {}, 422),
        ({"user_id": "x" * 256}, {}, 422),
    ],
)
def test_a_stream_that_cannot_begin_says_why(
    client: httpx.Client, params: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    answer = client.get(CHANGES, params={"follow": "false", **params}, headers=headers)
    assert answer.status_code == status, answer.text
    if status != 422:
        assert answer.json()["errno"] == status
        assert answer.json()["errmsg"].startswith("Last-Event-ID or after: ")


def test_a_gateway_that_stops_ends_its_streams_and_another_goes_on(system: RunningSystem) -> None:
    token = system.token("changing")
    with system.another_gateway() as another, another.client(token) as client:
        client.post("/api/v1/users", json={"id": "eve"})
        with stream(client, user_id="eve") as told:
            told.begin()
            write(client, "eve", "Bergen")
            first = told.next()
            another.gateway.process.terminate()
            end = told.next()
        assert (end.name, end.data["reason"]) == ("end", "stopping")
        assert another.gateway.process.wait(60) == 0
    with system.client(token) as client:
        write(client, "eve", "Norway", "country")
        with stream(client, end.id, user_id="eve") as told:
            assert contents([first, told.next()]) == ["Bergen", "Norway"]
