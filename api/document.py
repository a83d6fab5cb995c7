"""The OpenAPI document: what FastAPI reads from the routes, with access, errors, headers and examples added."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.contract import API_PREFIX, MEMOBASE_ROUTES
from api.examples import example_of
from api.refusals import EXAMPLES, MEANINGS, Refusal, refusals_of

DESCRIPTION: Final = """\
Long-term memory for LLM applications, by Memobase's API: its own clients work with it unchanged.

Every route below `/api/v1` but `/api/v1/healthcheck` needs `Authorization: Bearer <token>`: the root token, or one of a
project. With the root token, the header `X-Memostream-Project` chooses the project; without it, it is `default`.

Every answer is `{"data", "errno", "errmsg"}`. **On Memobase's routes an error has HTTP status 200** and its number in
`errno`, as Memobase's clients expect, but for 401 (its status, too) and 422 (a body with `detail`). On memostream's own
routes the status is the number. An `errno` of 503 comes with `Retry-After` on all of them.

Ids in paths are percent-encoded; one may hold a slash, as `%2F`. Every answer has `X-Request-ID`, which is that of the
request if it brought one, and `X-Process-Time` in seconds.
"""
_TAGS: Final = (
    ("blobs", "What users say, on its way into memory."),
    ("buffer", "What waits to be extracted."),
    ("users", "Users and what an application keeps with them."),
    ("profile", "Profiles, by hand."),
    ("events", "Events, by hand."),
    ("reading", "Memory for a prompt; no model is asked unless a parameter says so."),
    ("search", "Memory by meaning and by words."),
    ("changes", "What changes, as it changes."),
    ("projects", "Settings and figures of a project."),
    ("health", "Whether it works."),
)
_METHODS: Final = ("get", "put", "post", "delete")
_JSON: Final = "application/json"
_MALFORMED: Final[dict[str, Any]] = {
    "description": "What was sent is no HTTP request, or has more than 64 KiB of path and query or 128 KiB of headers.",
    "content": {"text/plain": {"schema": {"type": "string"}, "example": "Invalid HTTP request received."}},
}


def document_of(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1. It says the same whatever is configured."""
    document = get_openapi(
        title="memostream",
        version=app.version,
        summary="Memory over HTTP",
        description=DESCRIPTION,
        routes=app.routes,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    used = {tag for _, _, operation in _operations(document) for tag in operation.get("tags", ())}
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS if name in used]
    document["security"] = [{"token": []}]
    components = document["components"]
    _, definitions = models_json_schema([(Refusal, "serialization")], ref_template="#/components/schemas/{model}")
    components["schemas"] |= definitions["$defs"]
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    components["headers"] = {
        "X-Request-ID": {"description": "Names the request in the log.", "schema": {"type": "string"}},
        "X-Process-Time": {"description": "Seconds that the answer took.", "schema": {"type": "string"}},
        "Retry-After": {"description": "Seconds to wait with errno 503.", "schema": {"type": "integer", "minimum": 1}},
    }
    components["examples"] = {
        f"errno-{number}": {"summary": text, "value": {"data": None, "errno": number, "errmsg": EXAMPLES[number]}}
        for number, text in MEANINGS.items()
    }
    components["responses"] = {f"errno-{number}": _refusal(number) for number in MEANINGS} | {"malformed": _MALFORMED}
    components["responses"]["errno-400"]["content"] |= _MALFORMED["content"]
    for method, path, operation in _operations(document):
        _complete(operation, method.upper(), path, components["schemas"])
    return document


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield method, path, item[method]


def _complete(operation: dict[str, Any], method: str, path: str, schemas: Mapping[str, Any]) -> None:
    responses = operation["responses"]
    for answer in responses.values():
        stream = answer.get("content", {}).get("text/event-stream", {})
        if "itemSchema" in stream:
            # FastAPI's own, which is that of a text.
            stream.pop("schema", None)
        for media, content in answer.get("content", {}).items():
            if media == _JSON and not content.keys() & {"example", "examples"}:
                content["example"] = example_of(content.get("schema", {}), schemas)
    if "422" in responses:
        responses["422"]["description"] = "A parameter or the body is not as described; `detail` says where."
    if "security" not in operation:
        numbers = refusals_of(method, path.removeprefix(API_PREFIX), has_body="requestBody" in operation)
        if (method, path) in MEMOBASE_ROUTES:
            _add_to_success(responses, numbers)
        else:
            _add_by_status(responses, numbers)
    for answer in responses.values():
        if "$ref" not in answer:
            # What comes with status 200 may be an error of Memobase's routes.
            answer["headers"] = _headers("X-Request-ID", "X-Process-Time", "Retry-After")
    operation["responses"] = dict(sorted(responses.items()))


def _add_to_success(responses: dict[str, Any], numbers: list[int]) -> None:
    """Memobase's way: refusals beside the success, under HTTP 200; 401 has its status."""
    told = [number for number in numbers if number != 401]
    success = responses["200"]
    content = success["content"][_JSON]
    content["examples"] = {"success": {"value": content.pop("example")}} | {
        f"errno-{number}": {"$ref": f"#/components/examples/errno-{number}"} for number in told
    }
    content["schema"] = {"anyOf": [content["schema"], {"$ref": "#/components/schemas/Refusal"}]}
    listed = "\n".join(f"- {number}: {MEANINGS[number]}" for number in told)
    success["description"] = f"The answer, or an error with one of these in `errno`:\n{listed}"
    _add_by_status(responses, [401])
    responses["400"] = {"$ref": "#/components/responses/malformed"}


def _add_by_status(responses: dict[str, Any], numbers: list[int]) -> None:
    for number in numbers:
        description = responses.get(str(number), {}).get("description")
        refusal = {"$ref": f"#/components/responses/errno-{number}"}
        # A route that says more than the number means has an answer of its own.
        responses[str(number)] = refusal if description is None else _refusal(number, description)


def _refusal(number: int, description: str | None = None) -> dict[str, Any]:
    text = MEANINGS[number]
    return {
        "description": description or f"{text[0].upper()}{text[1:]}.",
        "headers": _headers("X-Request-ID", "X-Process-Time", *(("Retry-After",) if number == 503 else ())),
        "content": {
            _JSON: {
                "schema": {"$ref": "#/components/schemas/Refusal"},
                "examples": {f"errno-{number}": {"$ref": f"#/components/examples/errno-{number}"}},
            }
        },
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
