"""Values against JSON Schemas, formats included, with errors that a person can read."""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from schemas.published import published_schemas


def published(name: str) -> Mapping[str, Any]:
    """The published schema of that name."""
    return {schema.name: schema.document for schema in published_schemas()}[name]


def faults(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """What does not fit, as `path: why`; empty if everything does."""
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def subschemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a schema, the schema itself first."""
    if isinstance(schema, Mapping):
        yield schema
        for item in schema.values():
            yield from subschemas(item)
    elif isinstance(schema, list):
        for item in schema:
            yield from subschemas(item)
