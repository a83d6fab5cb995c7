"""The OpenAPI document: nothing that the gateway does is missing in it, and its examples fit its schemas."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest

from api.application import described_app
from api.contract import API_PREFIX, MEMOBASE_ROUTES
from api.examples import example_of
from api.refusals import _OWN, COMMON, EXAMPLES, MEANINGS, refusals_of

DOCUMENT: dict[str, Any] = described_app().openapi()
OPEN = {"/livez", "/readyz", f"{API_PREFIX}/healthcheck"}


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    content: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_of_memobase(self) -> bool:
        return (self.method, self.path) in MEMOBASE_ROUTES


OPERATIONS = [
    Operation(method.upper(), path, content)
    for path, item in DOCUMENT["paths"].items()
    for method, content in item.items()
]
GUARDED = [operation for operation in OPERATIONS if operation.path not in OPEN]


def resolved(node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        found: Any = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def examples(content: dict[str, Any]) -> Iterator[Any]:
    if "example" in content:
        yield content["example"]
    for example in content.get("examples", {}).values():
        yield resolved(example)["value"]


def test_all_thirty_routes_of_memobase_are_there() -> None:
    assert {(operation.method, operation.path) for operation in OPERATIONS} >= MEMOBASE_ROUTES


def test_names_of_operations_are_short_and_no_two_are_the_same() -> None:
    names = [operation.content["operationId"] for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_an_operation_says_what_it_does_and_has_a_chapter_that_is_described(operation: Operation) -> None:
    assert operation.content["summary"]
    assert operation.content["description"].strip()
    chapters = {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}
    assert set(operation.content["tags"]) <= chapters
    assert len(operation.content["tags"]) == 1
    for parameter in operation.content.get("parameters", ()):
        assert parameter.get("description"), parameter["name"]


def test_what_needs_no_token_says_so_and_nothing_else_does() -> None:
    assert DOCUMENT["security"] == [{"token": []}]
    assert DOCUMENT["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert {operation.path for operation in OPERATIONS if operation.content.get("security") == []} == OPEN


@pytest.mark.parametrize("operation", GUARDED, ids=str)
def test_errors_stand_where_they_come(operation: Operation) -> None:
    responses = operation.content["responses"]
    expected = refusals_of(
        operation.method,
        operation.path.removeprefix(API_PREFIX),
        has_body="requestBody" in operation.content,
    )
    assert resolved(responses["401"])["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Refusal"
    }
    if operation.is_of_memobase:
        success = responses["200"]["content"]["application/json"]
        assert success["schema"]["anyOf"][1] == {"$ref": "#/components/schemas/Refusal"}
        found = {example["errno"] for example in examples(success)}
        assert found == {0, *expected} - {401}
    else:
        assert {str(number) for number in expected} <= responses.keys()


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_every_answer_has_examples_that_fit_and_names_its_headers(operation: Operation) -> None:
    for response in map(resolved, operation.content["responses"].values()):
        for media, content in response.get("content", {}).items():
            shown = list(examples(content))
            assert shown
            if media == "application/json":
                for example in shown:
                    jsonschema.validate(
                        example, {**content["schema"], "components": DOCUMENT["components"]}, format_checker=None
                    )
            else:
                assert all(isinstance(example, str) for example in shown)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_what_is_to_be_sent_has_an_example_that_fits(operation: Operation) -> None:
    for content in resolved(operation.content.get("requestBody", {})).get("content", {}).values():
        schema = content["schema"]
        example = example_of(schema, DOCUMENT["components"]["schemas"])
        jsonschema.validate(example, {**schema, "components": DOCUMENT["components"]})


def test_every_number_has_a_meaning_and_an_example_and_every_route_with_numbers_exists() -> None:
    numbers = {number for numbers in _OWN.values() for number in numbers} | set(COMMON) | {413}
    assert numbers <= MEANINGS.keys() == EXAMPLES.keys()
    known = {(operation.method, operation.path.removeprefix(API_PREFIX)) for operation in OPERATIONS}
    assert _OWN.keys() <= known
