"""Every operation of the gateway, from its own OpenAPI document: a route that is new and unknown here is an error."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx

METHODS: Final = ("get", "post", "put", "delete")
# Needs no token: whether the gateway works.
OPEN: Final = frozenset({"/livez", "/readyz", "/api/v1/healthcheck"})
# Acts on the installation and not on a project.
OF_ROOT: Final = frozenset({"/api/v1/admin/status_check"})


@dataclass(frozen=True)
class Ids:
    """What a call names: things of one project, and words that stand in them."""

    user_id: str = "ann"
    blob_id: str = "b1"
    profile_id: str = "00000000-0000-4000-8000-000000000000"
    event_id: str = "00000000-0000-4000-8000-000000000000"
    words: str = "something"


@dataclass(frozen=True)
class Call:
    """One operation with all that it needs."""

    method: str
    template: str
    ids: Ids

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.template}"

    @property
    def path(self) -> str:
        """The template with its names filled in."""
        values = {"blob_type": "chat", "buffer_type": "chat", **vars(self.ids)}
        path = self.template
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        assert "{" not in path, path
        return path

    @property
    def query(self) -> Sequence[tuple[str, str]]:
        """So that as much as possible is found."""
        return [(name, value) for name, value in _QUERIES.get(self.template, {}).get(self.method, _query(self))]

    @property
    def body(self) -> Any:
        body = _bodies(self.ids).get(self.name)
        assert (body is None) is (self.method in ("get", "delete") or self.template in _WITHOUT_BODY), self.name
        return body

    def send(self, client: httpx.Client, **options: Any) -> httpx.Response:
        return client.request(
            self.method, self.path, params=httpx.QueryParams(list(self.query)), json=self.body, **options
        )


def operations(document: Mapping[str, Any], ids: Ids) -> list[Call]:
    """All of them: what reads comes first, what deletes a user last."""
    found = [
        Call(method, template, ids)
        for template, described in document["paths"].items()
        for method in described
        if method in METHODS
    ]
    return sorted(found, key=lambda call: (METHODS.index(call.method), -len(call.template)))


def reads(document: Mapping[str, Any], ids: Ids) -> list[Call]:
    """Those that show what is known in a project."""
    return [call for call in operations(document, ids) if call.method == "get" and call.template not in OPEN | OF_ROOT]


_WITHOUT_BODY: Final = frozenset({"/api/v1/users/buffer/{user_id}/{buffer_type}"})

_QUERIES: Final[Mapping[str, Mapping[str, Sequence[tuple[str, str]]]]] = {
    "/api/v1/blobs/insert/{user_id}": {"post": [("wait_process", "True")]},
    "/api/v1/users/buffer/{user_id}/{buffer_type}": {"post": [("wait_process", "true")]},
    "/api/v1/users/buffer/capacity/{user_id}/{buffer_type}": {"get": [("status", "idle")]},
    "/api/v1/users/blobs/{user_id}/{blob_type}": {"get": [("page_size", "1000"), ("states", "true")]},
    "/api/v1/users/context/{user_id}": {"get": [("max_token_size", "5000"), ("format", "json")]},
    "/api/v1/project/users": {"get": [("limit", "1000")]},
}


def _query(call: Call) -> Iterator[tuple[str, str]]:
    if "/search/" in call.template:
        # Words that every model knows, too: a question of which it knows none finds nothing.
        yield from (("query", f"who moved to the city of {call.ids.words}?"), ("topk", "100"))
        if "event" in call.template:
            yield from (("similarity_threshold", "-1"), ("time_range_in_days", "3650"))
        if "tags" in call.template:
            yield ("tags", "mood")
    if call.template == "/api/v1/changes":
        yield from (("after", "earliest"), ("follow", "false"))
        yield from (("topic", topic) for topic in ("profile-updated", "event-updated", "profiles"))


def _bodies(ids: Ids) -> Mapping[str, Any]:
    """By the name of a call."""
    chat = {"messages": [{"role": "user", "content": f"I moved to {ids.words}"}]}
    attributes = {"topic": "places", "sub_topic": "taken"}
    return {
        "POST /api/v1/project/profile_config": {"profile_config": f"event_theme_requirement: {json.dumps(ids.words)}"},
        "POST /api/v1/users": {"id": f"{ids.user_id} too", "data": {"note": ids.words}},
        "PUT /api/v1/users/{user_id}": {"data": {"note": ids.words}},
        "POST /api/v1/blobs/insert/{user_id}": {"blob_type": "chat", "blob_data": chat, "id": ids.blob_id},
        "POST /api/v1/users/profile/{user_id}": {"content": ids.words, "attributes": attributes},
        "PUT /api/v1/users/profile/{user_id}/{profile_id}": {"content": ids.words, "attributes": attributes},
        "POST /api/v1/users/profile/import/{user_id}": {"context": f"I moved to {ids.words}"},
        "PUT /api/v1/users/event/{user_id}/{event_id}": {"event_tip": ids.words},
        "POST /api/v1/users/roleplay/proactive/{user_id}": {"messages": chat["messages"], "agent_context": ids.words},
    }
