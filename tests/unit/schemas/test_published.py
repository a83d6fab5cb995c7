"""The published JSON Schemas: valid, in step with the models, forward compatible, friendly to code generators."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from schemas.changes import EventChanged, ProfileChanged, ProfileState
from schemas.errors import InvalidRecord
from schemas.published import DOCUMENTS, VALUES, Example, PublishedSchema, examples, published_schemas
from schemas.published_headers import HEADERS, KEYS
from schemas.records import parse_record
from schemas.windows import decode_window
from tests.support.json_schema import faults, published, subschemas

SCHEMAS = published_schemas()
TOPIC_OF = {record.__name__: topic for topic, value in VALUES.items() for record in value.records} | {
    "ProfileTombstone": "profiles",
    "DeadLetter": "dead-letters",
}
EXAMPLES = [
    pytest.param(TOPIC_OF[record], example, id=f"{record}-{example.name}")
    for record, listed in examples().items()
    for example in listed
]
# As version 1 was first published: whoever reads now must still be able to read these.
FIRST_PROFILE_CHANGE: dict[str, Any] = {
    "op": "u",
    "before": None,
    "after": {
        "id": "c9556ea7-a47d-48ae-822b-e73061cc39ba",
        "topic": "contact_info",
        "sub_topic": "city",
        "content": "Oslo",
        "occurred_at": "2026-11-20T15:30:00Z",
        "recorded_at": "2026-11-20T16:28:20.756629Z",
        "update_hits": 1,
        "message_ids": ["chat-17/0"],
    },
    "ts_ms": 1795192100756,
    "revision": 2,
    "project_id": "default",
    "user_id": "ann",
    "source": {
        "window_ids": [],
        "topic": None,
        "partition": None,
        "offset_from": None,
        "offset_to": None,
        "message_ids": [],
        "extractor": None,
        "snapshot": "false",
    },
}
FIRST_EVENT: dict[str, Any] = {
    "id": "f6bcc64d-8854-4745-8d72-7c05c9386b1d",
    "summary": None,
    "tags": [{"tag": "emotion", "value": "proud"}],
    "gists": [{"text": "moved to Oslo", "message_ids": ["chat-18/0"], "occurred_at": "2026-11-20T15:30:00Z"}],
    "occurred_at": "2026-11-20T15:30:00Z",
    "recorded_at": "2026-11-20T16:28:20.756629Z",
    "message_ids": ["chat-18/0"],
}


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_every_schema_is_valid_and_has_a_stable_id_a_title_and_a_description(schema: PublishedSchema) -> None:
    Draft202012Validator.check_schema(dict(schema.document))
    assert schema.document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema.document["$id"] == f"urn:memostream:schema:{schema.name}:v1"
    assert schema.document["title"]
    assert schema.document["description"]


def test_every_topic_has_a_schema_for_key_and_headers_and_every_one_of_json_for_its_value() -> None:
    names = {schema.name for schema in SCHEMAS}
    assert HEADERS.keys() == KEYS.keys() == VALUES.keys() | {"dead-letters"}
    of_topics = {*VALUES, *(f"{topic}.key" for topic in KEYS), *(f"{topic}.headers" for topic in KEYS)}
    assert names == of_topics | DOCUMENTS.keys()


@pytest.mark.parametrize(("topic", "example"), EXAMPLES)
def test_every_example_fits_the_schemas_of_its_topic(topic: str, example: Example) -> None:
    assert faults(example.key, published(f"{topic}.key")) == []
    assert faults(dict(example.headers), published(f"{topic}.headers")) == []
    if topic in VALUES and example.payload is not None:
        assert faults(example.payload, published(topic)) == []


def test_every_kind_of_record_has_an_example() -> None:
    assert {record for record, listed in examples().items() if listed} == TOPIC_OF.keys()


@pytest.mark.parametrize(("topic", "example"), [item for item in EXAMPLES if item.values[0] == "chat-messages"])
def test_what_the_examples_send_is_taken(topic: str, example: Example) -> None:
    record = parse_record(example.payload)
    assert record.user_id == example.key


@pytest.mark.parametrize("model", [ProfileChanged, EventChanged, ProfileState])
def test_what_the_examples_receive_is_what_the_models_write(
    model: type[ProfileChanged | EventChanged | ProfileState],
) -> None:
    for example in examples()[model.__name__]:
        assert model.model_validate(example.payload).model_dump(mode="json") == example.payload


def test_a_record_that_is_refused_fits_no_schema_either() -> None:
    (dead_letter,) = examples()["DeadLetter"]
    with pytest.raises(InvalidRecord):
        parse_record(dead_letter.payload)
    assert faults(dead_letter.payload, published("chat-messages"))


def with_unknown_keys(value: Any) -> Any:
    """The value with a key that nobody knows in each of its objects."""
    if isinstance(value, Mapping):
        return {**{key: with_unknown_keys(item) for key, item in value.items()}, "added_later": {"by": "us"}}
    return [with_unknown_keys(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("topic", VALUES)
def test_a_schema_accepts_records_with_unknown_keys_on_every_level(topic: str) -> None:
    for record in VALUES[topic].records:
        for example in examples()[record.__name__]:
            assert faults(with_unknown_keys(example.payload), published(topic)) == []
    assert not any(part.get("additionalProperties") is False for part in subschemas(published(topic)))


def test_a_model_reads_a_change_event_with_unknown_keys() -> None:
    (example, *_) = examples()["ProfileChanged"]
    known = ProfileChanged.model_validate(example.payload)
    assert ProfileChanged.model_validate(with_unknown_keys(example.payload)) == known


def test_a_change_event_as_first_published_is_still_valid() -> None:
    assert faults(FIRST_PROFILE_CHANGE, published("profile-updated")) == []
    ProfileChanged.model_validate(FIRST_PROFILE_CHANGE)
    created = {**FIRST_PROFILE_CHANGE, "op": "c", "after": FIRST_EVENT}
    assert faults(created, published("event-updated")) == []
    EventChanged.model_validate(created)


def test_a_change_event_without_its_user_or_of_another_version_fits_no_schema() -> None:
    (example, *_) = examples()["ProfileChanged"]
    without = {key: item for key, item in example.payload.items() if key != "user_id"}
    assert faults(without, published("profile-updated")) == ["$: 'user_id' is a required property"]
    newer = {**example.payload, "v": 2}
    assert faults(newer, published("profile-updated")) == ["$.v: 1 was expected"]


def test_windows_in_the_examples_are_read_by_the_worker() -> None:
    (window,) = examples()["Window"]
    (command,) = examples()["WindowCommand"]
    assert decode_window(orjson.dumps(window.payload)).user_id == "ann"
    assert decode_window(orjson.dumps(command.payload)).user_id == "ann"


@pytest.mark.parametrize("topic", VALUES)
def test_a_union_is_either_told_apart_by_a_key_or_something_or_null(topic: str) -> None:
    schema = published(topic)
    for part in subschemas(schema):
        if "anyOf" in part:
            nullable, null = part["anyOf"]
            assert (list(nullable), null) == (["$ref"], {"type": "null"})
    unions = [part for part in subschemas(schema) if "oneOf" in part and part is not schema]
    assert all("discriminator" in part for part in unions)


@pytest.mark.parametrize("topic", VALUES)
def test_only_named_definitions_have_titles(topic: str) -> None:
    schema = published(topic)
    assert all(schema["$defs"][name].get("title", name) == name for name in schema["$defs"])
    properties = [item for part in subschemas(schema) for item in part.get("properties", {}).values()]
    assert properties
    assert all("title" not in item and item.get("description", item.get("$ref")) for item in properties)


def test_numbers_that_outgrow_32_bits_say_so() -> None:
    long = {
        name
        for topic in VALUES
        for part in subschemas(published(topic))
        for name, item in part.get("properties", {}).items()
        if item.get("format") == "int64"
    }
    assert long == {
        "ts_ms",
        "revision",
        "offset",
        "offset_from",
        "offset_to",
        "timestamp_ms",
        "occurred_at_ms",
        "recorded_at_ms",
    }
