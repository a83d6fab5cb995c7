"""The published JSON Schemas: one for the value, the key and the headers of each topic, and one for exports."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final, Literal, NamedTuple

import orjson
from pydantic import BaseModel, Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema
from typing_extensions import TypeAliasType

from schemas import records
from schemas.changes import EventChanged, ProfileChanged, ProfileState
from schemas.export import UserExport
from schemas.published_headers import HEADERS, KEYS, headers_schema
from schemas.records import (
    ChatBlob,
    CodeBlob,
    Command,
    DocBlob,
    ImageBlob,
    SummaryBlob,
    TranscriptBlob,
)
from schemas.windows import Window, WindowCommand

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
VERSION: Final = 1

# A union has a definition of its own if it has a name.
Blob = TypeAliasType("Blob", records.Blob)


# `validation` describes what a producer may send, `serialization` what a consumer reads.
Mode = Literal["validation", "serialization"]


class Value(NamedTuple):
    """What lies on a topic: one of `records`. A model of its own has its title and description from itself."""

    heading: Mapping[str, str]
    type_: Any
    mode: Mode
    records: tuple[type[BaseModel], ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A record as it travels; a `payload` of None is a tombstone."""

    name: str
    summary: str
    key: str
    headers: Mapping[str, str]
    payload: Any


_BLOBS: Final = (ChatBlob, SummaryBlob, DocBlob, CodeBlob, TranscriptBlob, ImageBlob)
VALUES: Final[Mapping[str, Value]] = {
    "chat-messages": Value(
        {"title": "ChatMessages", "description": "What was said, as a blob, or a command."},
        Blob | Command,
        "validation",
        (*_BLOBS, Command),
    ),
    "extraction-windows": Value(
        {"title": "ExtractionWindows", "description": "What is extracted together, or a command behind it."},
        Annotated[Window | WindowCommand, Field(discriminator="kind")],
        "serialization",
        (Window, WindowCommand),
    ),
    "profile-updated": Value({}, ProfileChanged, "serialization", (ProfileChanged,)),
    "event-updated": Value({}, EventChanged, "serialization", (EventChanged,)),
    "profiles": Value({}, ProfileState, "serialization", (ProfileState,)),
}


# What travels as files, not on a topic.
DOCUMENTS: Final[Mapping[str, type[BaseModel]]] = {"user-export": UserExport}


@dataclass(frozen=True, slots=True)
class PublishedSchema:
    """A JSON Schema under its stable name, as in `profile-updated` or `profile-updated.headers`."""

    name: str
    document: Mapping[str, Any]

    @property
    def file_name(self) -> str:
        return f"{self.name}.json"

    def text(self) -> str:
        """The file, with a line break at its end."""
        return orjson.dumps(self.document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


class Generator(GenerateJsonSchema):
    """Pydantic's generator, less what code generators stumble over."""

    schema_dialect = DIALECT

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        # A title becomes a type of that name.
        return False

    def field_is_required(self, field: Any, total: bool) -> bool:
        # What tells records apart has one value, which is always written.
        if self.mode == "serialization" and field["schema"]["type"] == "default":
            inner = field["schema"]["schema"]
            if inner["type"] == "literal" and len(inner["expected"]) == 1:
                return True
        return super().field_is_required(field, total)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if not isinstance(inner.get("type"), str) or "const" in inner:
            return {"anyOf": [inner, {"type": "null"}]}
        nullable = {**inner, "type": [inner["type"], "null"]}
        return {**nullable, "enum": [*inner["enum"], None]} if "enum" in inner else nullable

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        return {key: value for key, value in described.items() if (key, value) != ("default", None)}


def published_schemas() -> tuple[PublishedSchema, ...]:
    """All of them, by name."""
    found = []
    for topic, key in KEYS.items():
        if topic in VALUES:
            found.append(_published(topic, _value_schema(VALUES[topic])))
        named = camel_case(topic)
        found.append(_published(f"{topic}.key", {"title": f"{named}Key", **key}))
        headers = {"title": f"{named}Headers", "description": f"Headers of {topic}, as text."}
        found.append(_published(f"{topic}.headers", {**headers, **headers_schema(HEADERS[topic])}))
    found += [_published(name, _document_schema(model)) for name, model in DOCUMENTS.items()]
    return tuple(sorted(found, key=lambda schema: schema.name))


def record_definitions(ref_template: str) -> dict[str, Any]:
    """The schemas of all records and of what they hold, by name, for a document that refers to them."""
    models = [(record, value.mode) for value in VALUES.values() for record in value.records]
    _, schema = models_json_schema(models, ref_template=ref_template, schema_generator=Generator)
    definitions: dict[str, Any] = _on_one_line(schema["$defs"])
    return definitions


@cache
def examples() -> Mapping[str, Sequence[Example]]:
    """Records of a real run, and what a producer sends, by the name of the record."""
    document = orjson.loads(files("schemas").joinpath("published_examples.json").read_bytes())
    return {record: [Example(**item) for item in listed] for record, listed in document.items()}


def camel_case(topic: str) -> str:
    """`profile-updated` as a name of a type: `ProfileUpdated`."""
    return "".join(word.capitalize() for word in topic.split("-"))


def _payloads(records: Iterable[type[BaseModel]]) -> list[Any]:
    return [example.payload for record in records for example in examples()[record.__name__]]


def _value_schema(value: Value) -> dict[str, Any]:
    schema = _on_one_line(TypeAdapter(value.type_).json_schema(mode=value.mode, schema_generator=Generator))
    definitions = schema.pop("$defs", {})
    if "anyOf" in schema:
        schema["oneOf"] = schema.pop("anyOf")
    heading = value.heading or {key: schema.pop(key) for key in ("title", "description")}
    return {**heading, **schema, "examples": _payloads(value.records), "$defs": definitions}


def _document_schema(model: type[BaseModel]) -> dict[str, Any]:
    schema: dict[str, Any] = _on_one_line(model.model_json_schema(mode="validation", schema_generator=Generator))
    return {**schema, "title": model.__name__}


def _published(name: str, schema: Mapping[str, Any]) -> PublishedSchema:
    head = {"$schema": DIALECT, "$id": f"urn:memostream:schema:{name}:v{VERSION}"}
    return PublishedSchema(name, {**head, **schema})


def _on_one_line(schema: Any) -> Any:
    """The same with descriptions that were docstrings, less their line breaks."""
    if isinstance(schema, list):
        return [_on_one_line(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: " ".join(item.split()) if key == "description" and isinstance(item, str) else _on_one_line(item)
        for key, item in schema.items()
    }
