"""Examples of values by their JSON Schemas."""

from collections.abc import Mapping
from typing import Any, Final

_MAX_DEPTH: Final = 12


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int = 0) -> Any:
    """A value that fits: the schema's own example or default where it has one, else the plainest one."""
    schema = _resolved(schema, schemas)
    known = [schema[key] for key in ("const", "example") if key in schema]
    known += [*schema.get("examples", ())[:1], *schema.get("enum", ())[:1]]
    if known:
        return _with_nulls(known[0], schema, schemas)
    options = _options(schema)
    if options:
        return example_of(options[0], schemas, depth + 1)
    if "default" in schema and schema.get("type") != "array":
        return schema["default"]
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: example_of(item, schemas, depth + 1) for name, item in properties.items()}
    if schema.get("type") == "array":
        return [example_of(schema["items"], schemas, depth + 1)] if depth < _MAX_DEPTH and "items" in schema else []
    return _PLAIN.get((schema.get("type"), schema.get("format")), _PLAIN.get((schema.get("type"), None)))


def _with_nulls(value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """The value with what is null in it: FastAPI leaves that out of every example."""
    schema = _resolved(schema, schemas)
    if options := _options(schema):
        return _with_nulls(value, options[0], schemas)
    if isinstance(value, dict) and "properties" in schema:
        given = {
            name: _with_nulls(value[name], item, schemas) if name in value else None
            for name, item in schema["properties"].items()
            if name in value or name in schema.get("required", ())
        }
        return given | {name: item for name, item in value.items() if name not in given}
    if isinstance(value, list) and "items" in schema:
        return [_with_nulls(item, schema["items"], schemas) for item in value]
    return value


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    return schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def _options(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a value may be, null last."""
    found = schema.get("anyOf") or schema.get("oneOf") or []
    return sorted(found, key=lambda option: option.get("type") == "null")


_PLAIN: Final[Mapping[tuple[Any, Any], Any]] = {
    ("string", None): "text",
    ("string", "uuid"): "0b6f7b7e-4d4f-4c39-9d4d-6a3f5f0f8d11",
    ("string", "date-time"): "2026-11-20T10:00:00Z",
    ("string", "date"): "2026-11-20",
    ("integer", None): 1,
    ("number", None): 0.5,
    ("boolean", None): True,
}
