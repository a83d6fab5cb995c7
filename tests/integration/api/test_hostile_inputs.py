"""Ids, texts, tags, queries and bodies that mean harm: each is stored as it is, found by itself, or refused.

No answer of an error repeats what was sent, and none tells of SQL, secrets or the code; nor does the log.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import asyncpg
import httpx
import pytest

from tests.conftest import plain_dsn
from tests.support.http_calls import Call, Ids, operations
from tests.support.running_gateway import ROOT_TOKEN, RunningSystem

API: Final = "/api/v1"
# Letters alone, so that no escaping can hide it.
MARK: Final = "zqhostilezq"
TEXTS: Final = (
    f"{MARK}'; DROP TABLE users; --",
    f'{MARK}" OR "1"="1" \\',
    f"{MARK}\"}}]' || '[{{\"tag",
    f"../..//{MARK}%2f..;?#&=+ %_*",
    f"{MARK}\r\nX-Evil: 1",
    f"{{{{7*7}}}}${{jndi:ldap://{MARK}}}<script>",
    f"\u202e\ufeff{MARK}\U0001f600\U0001d518\u0301\x7f\x1b[31m",
)
NUMBERS: Final = ("NaN", "1e999", "-1", "9" * 40, "", "null", "[]")
JSON: Final = ("{", "[" * 5_000, '{"__proto__": {"a": 1}}', '["\\ud800"]', f'["{MARK}"]')
UNDECODABLE: Final = ("%00", "%ff", "%ed%a0%80", "a%00b", "%c0%af", "x" * 256, "%F0%9F%98%80" * 64)
# What no caller may read in an error.
INSIDE: Final = re.compile(
    r"SELECT|INSERT INTO|sqlalchemy|asyncpg|psycopg|traceback|File \"|\.py\b|pydantic|orjson|project_id =|"
    r"relation \"|syntax error|/storage/|/api/routes",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def token(system: RunningSystem) -> str:
    return system.token("hostile")


@pytest.fixture(scope="module")
def http(system: RunningSystem, token: str) -> Iterator[httpx.Client]:
    with system.client(token) as client:
        yield client


@pytest.fixture(scope="module")
def document(http: httpx.Client) -> Any:
    return http.get("/openapi.json").json()


@pytest.fixture(scope="module", autouse=True)
def bystander(system: RunningSystem) -> Iterator[None]:
    """Another project, of which nothing changes whatever these tests do; and no table goes."""
    with system.client(system.token("bystander")) as client:
        client.post(f"{API}/users", json={"id": "ann", "data": {"note": "calm"}})
        client.post(
            f"{API}/users/profile/ann", json={"content": "calm", "attributes": {"topic": "a", "sub_topic": "b"}}
        )
        paths = (f"{API}/project/users", f"{API}/users/ann", f"{API}/users/profile/ann")
        before = [client.get(path).json() for path in paths]
        yield
        assert [client.get(path).json() for path in paths] == before
        assert before[0]["data"]["count"] == 1


def harmless(response: httpx.Response, call: str) -> httpx.Response:
    """The response; raises AssertionError where it tells what it must not, or where the gateway broke."""
    is_json = response.headers.get("content-type", "").startswith("application/json")
    body = response.json() if is_json else {}
    errno = body.get("errno", 0) if isinstance(body, dict) else 0
    assert response.status_code not in (500, 502), (call, response.text)
    assert errno != 500, (call, response.text)
    assert "x-evil" not in response.headers, call
    if response.status_code >= 400 or errno:
        told = response.text
        assert MARK not in told, (call, told)
        assert not INSIDE.search(told), (call, told)
        assert ROOT_TOKEN not in told
        assert len(told) < 5_000, (call, told[:200])
    return response


@pytest.mark.parametrize("text", TEXTS[:5])
def test_ids_and_words_of_any_kind_do_no_harm_on_any_route(http: httpx.Client, document: Any, text: str) -> None:
    for call in operations(document, Ids(user_id=text, blob_id=text, words=text)):
        harmless(call.send(http), call.name)


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_taken_comes_back_as_it_was_sent(http: httpx.Client, text: str) -> None:
    ids = Ids(user_id=f"{text} kept", blob_id=text, words=text)
    user = Call("get", f"{API}/users/{{user_id}}", ids).path
    assert data(http.post(f"{API}/users", json={"id": ids.user_id, "data": {text: text}})) == {"id": ids.user_id}
    assert data(http.get(user))["data"] == {text: text}
    listed = data(http.get(f"{API}/project/users", params={"search": ids.user_id}))
    assert [user["id"] for user in listed["users"]] == [ids.user_id]

    entry = {"content": text, "attributes": {"topic": "hostile", "sub_topic": "words"}}
    profile = Call("get", f"{API}/users/profile/{{user_id}}", ids).path
    data(http.post(profile, json=entry))
    assert [found["content"] for found in data(http.get(profile))["profiles"]] == [text]

    chat = {"messages": [{"role": "user", "content": text}]}
    blob = {"blob_type": "chat", "blob_data": chat, "id": text, "fields": {text: text}}
    insert = Call("post", f"{API}/blobs/insert/{{user_id}}", ids).path
    assert data(http.post(insert, params={"wait_process": "true"}, json=blob))["id"] == text
    found = data(http.get(Call("get", f"{API}/blobs/{{user_id}}/{{blob_id}}", ids).path))
    assert (found["blob_data"]["messages"][0]["content"], found["fields"]) == (text, {text: text})


def test_a_tag_finds_the_events_that_have_the_very_tag(http: httpx.Client) -> None:
    chat = {"messages": [{"role": "user", "content": "I moved to Oslo"}]}
    data(http.post(f"{API}/blobs/insert/tagged", json={"blob_type": "chat", "blob_data": chat}))
    data(http.post(f"{API}/users/buffer/tagged/chat", params={"wait_process": "true"}))
    (event,) = data(http.get(f"{API}/users/event/tagged"))["events"]
    for text in TEXTS:
        # A comma and an equals sign part tags and values in this query.
        word = re.sub("[,=]", "", text)
        tags = [{"tag": word, "value": word}]
        data(http.put(f"{API}/users/event/tagged/{event['id']}", json={"event_tags": tags}))
        for query, is_found in (
            ({"tags": word}, True),
            ({"tag_values": f"{word}={word}"}, True),
            ({"tags": f"{word}x"}, False),
            ({"tag_values": f"{word}=x"}, False),
            ({"tags": '"}] OR true --'}, False),
            ({"tags": "%"}, False),
        ):
            found = data(http.get(f"{API}/users/event_tags/search/tagged", params=query))["events"]
            assert [one["id"] for one in found] == ([event["id"]] if is_found else []), query


def test_every_parameter_of_every_route_bears_what_is_not_meant_for_it(http: httpx.Client, document: Any) -> None:
    for call in operations(document, Ids(user_id="parameters")):
        described = document["paths"][call.template][call.method].get("parameters", [])
        names = [parameter["name"] for parameter in described if parameter["in"] == "query"]
        # What follows never ends by itself.
        for name in set(names) - {"follow"}:
            others = [(key, value) for key, value in call.query if key != name]
            for value in (*TEXTS[:3], *NUMBERS, *JSON, "a\x00b", "x" * 5_000):
                query = httpx.QueryParams([*others, (name, value)])
                asked = http.request(call.method, call.path, params=query, json=call.body)
                harmless(asked, f"{call.name} {name}={value[:60]!r}")


def test_a_path_that_says_no_name_is_refused(http: httpx.Client, document: Any) -> None:
    for call in operations(document, Ids()):
        for place in re.findall(r"\{\w+\}", call.template):
            for segment in UNDECODABLE:
                path = call.template.replace(place, segment)
                path = Call(call.method, path, Ids()).path
                response = http.request(call.method, path, params=httpx.QueryParams(list(call.query)), json=call.body)
                harmless(response, f"{call.name} {segment[:20]}")
                assert response.status_code in (404, 422), (call.name, segment)


def test_a_body_of_any_shape_is_taken_or_refused(http: httpx.Client, document: Any) -> None:
    shapes: tuple[Any, ...] = (
        None,
        0,
        -1.5,
        True,
        [],
        {},
        "",
        "a\x00b",
        MARK,
        [MARK],
        {MARK: MARK},
        nested(200),
        "x" * 70_000,
    )
    raw = (b"", b"{", b"null", b"[]", b'"x"', b"NaN", b"\xff\xfe", b"\x00", b'{"a":' * 20_000, b"[" * 200_000)
    for call in operations(document, Ids(user_id="bodies")):
        if call.body is None:
            continue
        query = httpx.QueryParams(list(call.query))
        for content in (*raw, MARK.encode(), f'{{"{MARK}": "\\ud800"}}'.encode()):
            headers = {"Content-Type": "application/json"}
            sent = http.request(call.method, call.path, params=query, content=content, headers=headers)
            harmless(sent, f"{call.name} {content[:30]!r}")
        for key in call.body:
            for value in shapes:
                sent = http.request(call.method, call.path, params=query, json={**call.body, key: value})
                harmless(sent, f"{call.name} {key}={str(value)[:30]!r}")


def test_a_body_that_is_too_large_is_refused_however_it_is_sent(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 100_000

    path = f"{API}/blobs/insert/ann"
    for content in (b'{"a": "' + MARK.encode() * 400_000, chunks()):
        response = http.post(path, content=content, headers={"Content-Type": "application/json"})
        assert response.json()["errno"] == 413
        harmless(response, path)


def test_no_method_and_no_path_shows_what_is_inside(http: httpx.Client, document: Any) -> None:
    for call in operations(document, Ids()):
        for method in ("PATCH", "OPTIONS", "TRACE"):
            assert harmless(http.request(method, call.path), call.name).status_code == 405
    for path in (f"{API}/{MARK}", f"{API}//users/ann", f"{API}/users/ann/", f"/{MARK}", "/api", "/.env"):
        assert harmless(http.get(path), path).status_code == 404


def test_headers_mean_no_more_than_they_should(http: httpx.Client, token: str) -> None:
    for name in ("X-Request-ID", "Idempotency-Key", "Last-Event-ID", "X-Memostream-Project", "X-Forwarded-For"):
        for value in (TEXTS[0], "x" * 5_000, '{"a": 1}'):
            for path in (f"{API}/project/billing", f"{API}/changes?follow=false"):
                response = http.get(path, headers={name: value})
                harmless(response, f"{name} {path}")
                assert MARK not in " ".join(response.headers.values())
    for authorization in (f"Bearer {token}\t{MARK}", f"Bearer sk-{MARK}-{'0' * 48}", f"Bearer sk-%00{MARK}-00000000"):
        response = http.get(f"{API}/project/billing", headers={"Authorization": authorization})
        assert harmless(response, authorization).status_code == 401


# Last: it looks at the log of all that was done above.
def test_the_log_holds_nothing_of_all_this(system: RunningSystem, http: httpx.Client, token: str) -> None:
    assert harmless(http.get(f"{API}/{MARK}"), "").status_code == 404
    logged = system.gateway.output()
    assert "request.refused" in logged
    for secret in (MARK, token, ROOT_TOKEN, system.database_url):
        assert secret not in logged
    assert not re.search(r"SELECT |INSERT INTO|UPDATE \w+ SET|DELETE FROM", logged)
    lines = [json.loads(line) for line in logged.splitlines()]
    assert {line["event"] for line in lines if line["level"] in ("error", "critical")} <= set()


def test_the_metrics_hold_nothing_of_all_this(system: RunningSystem, http: httpx.Client, token: str) -> None:
    page = http.get("/metrics")
    assert page.status_code == 200
    assert "memostream_http_requests_total" in page.text
    for secret in (MARK, token, ROOT_TOKEN, system.database_url):
        assert secret not in page.text


async def test_no_table_is_gone(system: RunningSystem) -> None:
    connection = await asyncpg.connect(plain_dsn(system.database_url))
    try:
        assert await connection.fetchval("SELECT to_regclass('users') IS NOT NULL")
    finally:
        await connection.close()


def nested(depth: int) -> Any:
    document: Any = MARK
    for _ in range(depth):
        document = {"a": [document]}
    return document


def data(response: httpx.Response) -> Any:
    body = response.json()
    assert (response.status_code, body["errno"]) == (200, 0), (response.request.url.path, response.text)
    return body["data"]
