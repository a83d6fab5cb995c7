"""The AsyncAPI 3 document of one installation: its topics, their records, and what an application does with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from schemas.published import VERSION, camel_case, examples, record_definitions
from schemas.published_headers import HEADERS, KEYS, headers_schema
from schemas.settings import BufferSettings, KafkaSettings
from streams.topics import TopicDeclaration, declarations

FILE_NAME: Final = "asyncapi.yaml"
DOCUMENT_ID: Final = f"urn:memostream:asyncapi:v{VERSION}"
BINDING_VERSION: Final = "0.5.0"
LINE_CHARACTERS: Final = 120
# Settings of a topic that AsyncAPI's binding wants as numbers.
_NUMBERS: Final = (
    "retention.ms",
    "delete.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "min.insync.replicas",
)

DESCRIPTION: Final = """\
Long-term memory for LLM applications, as a stream processor on Kafka.

Operations are those of an application that uses memostream: it **sends** chats and commands, and **receives** what
memory has become. memostream itself does the opposite.

Values are UTF-8 JSON, with or without a schema registry's prefix on chat-messages, and without on all other topics.
Keys that are not described here may appear in any record; ignore them. Read with `isolation.level=read_committed`,
or you will see what was aborted. Change events come at least once: `ce_id` tells a second delivery.
"""


@dataclass(frozen=True, slots=True)
class Message:
    """A kind of record; `payload` is a schema, or None for one under the message's own name."""

    name: str
    title: str
    summary: str
    payload: Mapping[str, Any] | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic; `operations` are (action, id, summary, names of messages)."""

    topic: str
    description: str
    messages: tuple[Message, ...]
    operations: tuple[tuple[str, str, str, tuple[str, ...]], ...]


_BLOBS: Final = (
    Message("ChatBlob", "Chat", "One or more messages of a conversation."),
    Message("SummaryBlob", "Summary", "A summary of a conversation, made elsewhere."),
    Message("DocBlob", "Document", "A document of the user's."),
    Message("CodeBlob", "Code", "Code of the user's."),
    Message("TranscriptBlob", "Transcript", "What was spoken, line by line."),
    Message("ImageBlob", "Image", "An image. Without a model that sees it is kept in dead-letters."),
)
CHANNELS: Final = (
    Channel(
        "chat-messages",
        "What was said, and commands among it. One user's records are in order on one partition. A CloudEvent in "
        "binary or structured mode is read too; its attributes fill in what the value leaves out.",
        (*_BLOBS, Message("Command", "Command", "An instruction that is ordered among the user's messages.")),
        (
            ("send", "sendBlobs", "Tell memostream what was said.", tuple(blob.name for blob in _BLOBS)),
            ("send", "sendCommands", "Have a user's buffer extracted now, or a user forgotten.", ("Command",)),
        ),
    ),
    Channel(
        "extraction-windows",
        "What is extracted together. Written and read by memostream; described for replays and for looking inside.",
        (
            Message("Window", "Window", "Units of one user that are extracted together."),
            Message("WindowCommand", "Command on its way", "A command, behind the windows that it closed."),
        ),
        (("receive", "receiveWindows", "See what is about to be extracted.", ("Window", "WindowCommand")),),
    ),
    Channel(
        "profile-updated",
        "Every change of a profile, entry by entry. One user's changes are in order.",
        (Message("ProfileChanged", "Profile entry changed", "An entry was created, updated or deleted."),),
        (("receive", "receiveProfileChanges", "Learn what has changed in a profile.", ("ProfileChanged",)),),
    ),
    Channel(
        "event-updated",
        "Every change of an event. One user's changes are in order.",
        (Message("EventChanged", "Event changed", "An event was created, updated or deleted."),),
        (("receive", "receiveEventChanges", "Learn what has happened.", ("EventChanged",)),),
    ),
    Channel(
        "profiles",
        "The current profile of every user; compacted, so that reading it from the beginning gives them all.",
        (
            Message("ProfileState", "Profile", "A user's whole profile; a higher revision is newer."),
            Message(
                "ProfileTombstone",
                "Profile erased",
                "The user was forgotten: a record without a value.",
                {"title": "ProfileTombstone", "description": "No value.", "type": "null"},
            ),
        ),
        (("receive", "receiveProfiles", "Keep a live copy of all profiles.", ("ProfileState", "ProfileTombstone")),),
    ),
    Channel(
        "dead-letters",
        "Records that were refused for good, with the reason in headers.",
        (
            Message(
                "DeadLetter",
                "Dead letter",
                "A refused record: its own key, bytes and headers, and ours beside them.",
                {
                    "title": "DeadLetter",
                    "description": "The original bytes, whatever they are. Of a record that a window held: the blob "
                    "as JSON, as it was sent. Empty for a record that the topic could not hold.",
                },
                "application/octet-stream",
            ),
        ),
        (("receive", "receiveDeadLetters", "Learn what was refused, and why.", ("DeadLetter",)),),
    ),
)


def asyncapi(kafka: KafkaSettings, buffer: BufferSettings) -> dict[str, Any]:
    """The document for these settings. It holds no password and no user name."""
    declared = {topic.name.removeprefix(kafka.topic_prefix): topic for topic in declarations(kafka, buffer)}
    return {
        "asyncapi": "3.0.0",
        "id": DOCUMENT_ID,
        "info": {
            "title": "memostream",
            "version": f"{VERSION}.0.0",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": _server(kafka)},
        "channels": {_id(item.topic): _channel(item, declared[item.topic], kafka) for item in CHANNELS},
        "operations": {
            name: {
                "action": action,
                "channel": {"$ref": f"#/channels/{_id(item.topic)}"},
                "summary": summary,
                "messages": [{"$ref": f"#/channels/{_id(item.topic)}/messages/{message}"} for message in messages],
            }
            for item in CHANNELS
            for action, name, summary, messages in item.operations
        },
        "components": {
            "messages": {message.name: _message(item.topic, message) for item in CHANNELS for message in item.messages},
            "schemas": _schemas(),
            "correlationIds": {
                "trace": {
                    "description": "The W3C trace that a message, its window and the changes made of it belong to.",
                    "location": "$message.header#/traceparent",
                }
            },
            **_security_schemes(kafka),
        },
    }


def asyncapi_text(kafka: KafkaSettings, buffer: BufferSettings) -> str:
    """The document as YAML."""
    text: str = yaml.dump(
        asyncapi(kafka, buffer), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_CHARACTERS
    )
    return text


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        # An example that is named twice is written twice: anchors confuse readers and some tools.
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _id(topic: str) -> str:
    name = camel_case(topic)
    return name[0].lower() + name[1:]


def _server(kafka: KafkaSettings) -> dict[str, Any]:
    addresses = [address.strip() for address in kafka.bootstrap_servers.split(",")]
    secured = {"security": [{"$ref": "#/components/securitySchemes/sasl"}]} if _mechanism(kafka) else {}
    return {
        "host": "{bootstrapServer}",
        "protocol": "kafka-secure" if kafka.security_protocol.endswith("SSL") else "kafka",
        "description": "The Kafka cluster that memostream runs on.",
        "variables": {
            "bootstrapServer": {
                "description": "host:port of one of the brokers.",
                "default": addresses[0],
                "examples": addresses,
            }
        },
        **secured,
        "bindings": {"kafka": {"bindingVersion": BINDING_VERSION}},
    }


def _mechanism(kafka: KafkaSettings) -> str | None:
    return kafka.sasl_mechanism if kafka.security_protocol.startswith("SASL") else None


def _security_schemes(kafka: KafkaSettings) -> dict[str, Any]:
    types = {"PLAIN": "plain", "SCRAM-SHA-256": "scramSha256", "SCRAM-SHA-512": "scramSha512"}
    mechanism = _mechanism(kafka)
    return {} if mechanism is None else {"securitySchemes": {"sasl": {"type": types[mechanism]}}}


def _channel(channel: Channel, declared: TopicDeclaration, kafka: KafkaSettings) -> dict[str, Any]:
    config: dict[str, Any] = {
        name: int(value) if name in _NUMBERS else value for name, value in sorted(declared.config.items())
    }
    config["cleanup.policy"] = config["cleanup.policy"].split(",")
    return {
        "address": declared.name,
        "title": channel.topic,
        "description": channel.description,
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {message.name: {"$ref": f"#/components/messages/{message.name}"} for message in channel.messages},
        "bindings": {
            "kafka": {
                "topic": declared.name,
                "partitions": declared.partitions,
                "replicas": kafka.replication_factor,
                "topicConfiguration": config,
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _message(topic: str, message: Message) -> dict[str, Any]:
    return {
        "name": message.name,
        "title": message.title,
        "summary": message.summary,
        "contentType": message.content_type,
        "correlationId": {"$ref": "#/components/correlationIds/trace"},
        "headers": {"$ref": f"#/components/schemas/{camel_case(topic)}Headers"},
        "payload": {"$ref": f"#/components/schemas/{message.name}"},
        "bindings": {
            "kafka": {
                "key": {"$ref": f"#/components/schemas/{camel_case(topic)}Key"},
                "bindingVersion": BINDING_VERSION,
            }
        },
        "examples": [
            {
                "name": example.name,
                "summary": example.summary,
                "headers": dict(example.headers),
                "payload": example.payload,
            }
            for example in examples()[message.name]
        ],
    }


def _schemas() -> dict[str, Any]:
    found = record_definitions("#/components/schemas/{model}")
    for channel in CHANNELS:
        name = camel_case(channel.topic)
        found[f"{name}Key"] = {"title": f"{name}Key", **KEYS[channel.topic]}
        found[f"{name}Headers"] = {"title": f"{name}Headers", **headers_schema(HEADERS[channel.topic])}
        for message in channel.messages:
            if message.payload is not None:
                found[message.name] = dict(message.payload)
    return dict(sorted(found.items()))
