"""The AsyncAPI document: what it says of topics, records and servers."""

from typing import Any

import yaml  # type: ignore[import-untyped]
from jsonschema import Draft7Validator
from pydantic import SecretStr

from schemas.settings import BufferSettings, KafkaSettings
from streams.asyncapi import asyncapi, asyncapi_text
from streams.topics import declarations
from tests.support.json_schema import subschemas

BUFFER = BufferSettings()


def document(**kafka: Any) -> dict[str, Any]:
    return asyncapi(KafkaSettings(**kafka), BUFFER)


def test_every_topic_but_the_changelog_is_a_channel_with_the_settings_that_it_is_made_with() -> None:
    kafka = KafkaSettings(topic_prefix="shop-", partitions=12, changes_retention_ms=1000, replication_factor=3)
    bindings = [channel["bindings"]["kafka"] for channel in asyncapi(kafka, BUFFER)["channels"].values()]
    described = {
        binding["topic"]: (
            binding["partitions"],
            binding["replicas"],
            {
                name: ",".join(value) if isinstance(value, list) else str(value)
                for name, value in binding["topicConfiguration"].items()
            },
        )
        for binding in bindings
    }
    made = {topic.name: (topic.partitions, 3, dict(topic.config)) for topic in declarations(kafka, BUFFER)}
    (changelog,) = made.keys() - described.keys()
    assert changelog == "shop-memostream-buffer-buffer-changelog"
    assert described == {name: item for name, item in made.items() if name != changelog}


def test_a_channel_is_at_the_topic_with_its_prefix() -> None:
    channels = document(topic_prefix="shop-")["channels"]
    assert channels["profileUpdated"]["address"] == "shop-profile-updated"


def test_messages_are_sent_to_chat_messages_and_received_from_all_other_topics() -> None:
    operations = document()["operations"].values()
    sent = {operation["channel"]["$ref"] for operation in operations if operation["action"] == "send"}
    received = {operation["channel"]["$ref"] for operation in operations if operation["action"] == "receive"}
    channels = {f"#/channels/{name}" for name in document()["channels"]}
    assert sent == {"#/channels/chatMessages"}
    assert received == channels - sent


def test_every_message_has_key_headers_and_payload_schemas_that_its_examples_fit() -> None:
    found = document()
    schemas = found["components"]["schemas"]
    checked = 0
    for message in found["components"]["messages"].values():
        for part in ("headers", "payload"):
            validator = Draft7Validator({**message[part], "components": {"schemas": schemas}})
            for example in message["examples"]:
                validator.validate(example[part])
                checked += 1
        assert message["bindings"]["kafka"]["key"]["$ref"].rpartition("/")[2] in schemas
    assert checked >= 2 * len(found["components"]["messages"])


def test_the_schemas_need_nothing_newer_than_draft_07_which_asyncapi_builds_on() -> None:
    newer = {"$defs", "$dynamicRef", "prefixItems", "unevaluatedProperties", "dependentRequired", "discriminator"}
    for schema in subschemas(document()["components"]["schemas"]):
        assert not newer & schema.keys()
        assert schema.get("$ref", "#/components/").startswith("#/components/")


def test_a_server_is_the_first_broker_and_no_credential_shows() -> None:
    kafka = KafkaSettings(
        bootstrap_servers="a.example:9093,b.example:9093",
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="robot-7",
        sasl_password=SecretStr("swordfish"),
    )
    text = asyncapi_text(kafka, BUFFER)
    found = yaml.safe_load(text)
    server = found["servers"]["kafka"]
    assert server["protocol"] == "kafka-secure"
    assert server["variables"]["bootstrapServer"]["default"] == "a.example:9093"
    assert found["components"]["securitySchemes"] == {"sasl": {"type": "scramSha512"}}
    assert "robot-7" not in text
    assert "swordfish" not in text


def test_the_yaml_says_the_same_as_the_document_and_has_no_anchors() -> None:
    text = asyncapi_text(KafkaSettings(), BUFFER)
    assert yaml.safe_load(text) == document()
    assert "&id0" not in text
