"""The reference page of the HTTP gateway, from its OpenAPI document."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from api.application import described_app
from api.contract import API_PREFIX, MEMOBASE_ROUTES
from api.refusals import MEANINGS, refusals_of

METHODS: Final = ("get", "post", "put", "delete")
JSON: Final = "application/json"
HEAD: Final = """\
<!-- generated: by `make reference` from the gateway's OpenAPI document -->
# HTTP API

Every route of the gateway. A running one shows the same at `/docs`, and its OpenAPI document at `/openapi.json`; a copy
lies in `docs/schemas/openapi.json`. How to use it: [Memobase's SDK](../how-to/memobase-sdk.md),
[reading memory](../how-to/read-memory.md), [messages](../how-to/blobs.md), [edits](../how-to/edit-by-hand.md),
[changes](../how-to/change-stream.md), [projects and tokens](../how-to/projects.md).

"""
ERRORS_HEAD: Final = """\
## Errors

The number of an error is in `errno`. On Memobase's routes the HTTP status is 200 all the same, but for 401 and 422; on
memostream's own (marked **ours**) it is the number. Every route that takes a token may answer 400, 401, 403, 500 and
503, one with a body 413, too; further numbers stand with the route. Status 422 says in `detail` which parameter or
field is not as described here. The text of an error quotes neither the request nor the memory.

| errno | means |
|---|---|
"""
Document = Mapping[str, Any]


def http_page() -> str:
    """The text of `docs/reference/http-api.md`."""
    document = described_app().openapi()
    introduction: str = document["info"]["description"]
    numbers = "".join(f"| {number} | {meaning} |\n" for number, meaning in MEANINGS.items())
    chapters = [
        "\n".join([f"## {tag['name'].capitalize()}\n", f"{tag['description']}\n", *_operations(document, tag["name"])])
        for tag in document["tags"]
    ]
    return "\n".join([HEAD + introduction, ERRORS_HEAD + numbers, *chapters])


def _operations(document: Document, tag: str) -> Iterator[str]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item and tag in item[method]["tags"]:
                yield from _operation(document, method.upper(), path, item[method])


def _operation(document: Document, method: str, path: str, operation: Document) -> Iterator[str]:
    ours = "" if (method, path) in MEMOBASE_ROUTES else " (**ours**)"
    yield f"### {method} {path}\n"
    yield f"{operation['summary']}{ours}.\n"
    yield f"{operation.get('description', '').strip()}\n"
    if parameters := operation.get("parameters"):
        yield "| parameter | in | type | default | |\n|---|---|---|---|---|"
        yield "\n".join(_parameter(each) for each in parameters) + "\n"
    if body := operation.get("requestBody"):
        schema = body["content"][JSON]["schema"]
        yield from _fields(document, schema, "body")
        yield from _example(schema.get("examples") or _resolved(document, schema).get("examples"))
    yield from _answer(document, operation["responses"]["200"]["content"])
    if own := _own_errors(method, path, operation):
        yield f"Further errors: {', '.join(map(str, own))}.\n"


def _own_errors(method: str, path: str, operation: Document) -> list[int]:
    usual = {*refusals_of("GET", "/", has_body=True)}
    if "security" in operation:
        # Such a route takes no token.
        return []
    return [
        number for number in refusals_of(method, path.removeprefix(API_PREFIX), has_body=False) if number not in usual
    ]


def _parameter(parameter: Document) -> str:
    schema = parameter["schema"]
    default = (
        "required" if parameter["required"] else f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
    )
    name = "Last-Event-ID" if parameter["name"] == "last-event-id" else parameter["name"]
    cells = (f"`{name}`", parameter["in"], _type(schema), default, parameter.get("description", ""))
    return _row(cells)


def _fields(document: Document, schema: Document, title: str) -> Iterator[str]:
    """The fields of an object, with those of its own objects after a dot; nothing for one without fields of its own."""
    rows = [_row(cells) for cells in _rows(document, schema, "", ())]
    if rows:
        yield f"| {title} | type | |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _rows(document: Document, schema: Document, before: str, seen: Sequence[str]) -> Iterator[tuple[str, ...]]:
    named = _name_of(schema)
    if named in seen:
        return
    found = _resolved(document, schema)
    for name, field in found.get("properties", {}).items():
        inner, repeated = _inner(document, field)
        place = f"{before}{name}"
        yield f"`{place}`", _type(field), field.get("description", "")
        yield from _rows(document, inner, f"{place}{repeated}.", (*seen, *filter(None, [named])))


def _inner(document: Document, field: Document) -> tuple[Document, str]:
    """The object that a field holds, and `[]` where it holds several."""
    for choice in (field, *field.get("anyOf", ())):
        if choice.get("type") == "array":
            return choice["items"], "[]"
        if "properties" in _resolved(document, choice):
            return choice, ""
    return {}, ""


def _answer(document: Document, content: Document) -> Iterator[str]:
    for media, described in content.items():
        if media != JSON:
            if "example" in described:
                yield f"Answers `{media}`:\n\n```\n{described['example'].strip()}\n```\n"
            continue
        schema = described["schema"]
        success = schema["anyOf"][0] if "anyOf" in schema else schema
        data = _resolved(document, success).get("properties", {}).get("data")
        if data is not None:
            inner, repeated = _inner(document, data)
            yield from _fields(document, inner or data, f"`data`{repeated}")
        example = described.get("example") or described.get("examples", {}).get("success", {}).get("value")
        yield from _example([example] if example is not None else None)


def _example(examples: Sequence[Any] | None) -> Iterator[str]:
    if examples:
        yield f"```json\n{json.dumps(examples[0], ensure_ascii=False)}\n```\n"


def _type(schema: Document) -> str:
    if "$ref" in schema:
        return "object"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(each) for each in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    named = {"date-time": "time", "uuid": "UUID", "date": "date"}
    return str(named.get(schema.get("format", ""), schema.get("type", "any")))


def _resolved(document: Document, schema: Document) -> Document:
    named = _name_of(schema)
    found: Document = schema if named is None else document["components"]["schemas"][named]
    return found


def _name_of(schema: Document) -> str | None:
    reference = schema.get("$ref")
    return None if reference is None else reference.rpartition("/")[2]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |"
