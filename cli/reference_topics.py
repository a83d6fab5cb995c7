"""The reference page of topics and records, from the topics' declarations and the published schemas."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from schemas.published import VALUES, Example, examples, record_definitions
from schemas.published_headers import HEADERS, KEYS
from schemas.settings import BufferSettings, KafkaSettings
from streams.topics import TopicDeclaration, declarations

DAY_MS: Final = 24 * 3600 * 1000
MIB: Final = 1 << 20

HEAD: Final = """\
<!-- generated: by `make reference` from the topics' declarations and the schemas -->
# Topics and records

Every topic of memostream, with what lies on it, as it is made by default. `kafka.topic_prefix` stands before all
names; partitions, replicas and retention have [settings](configuration.md#kafka). Topics are made when they are missing
and checked when they exist.

Values are JSON in UTF-8, keys and headers are UTF-8 text. Fields that a reader does not know are to be ignored: a newer
version adds some. The same as JSON Schema and AsyncAPI, for generators: [schemas](schemas.md).
"""

ABOUT: Final[Mapping[str, str]] = {
    "chat-messages": (
        "What was said, and commands. Written by your producers, the ingest agent and `memostream send`; read by the "
        "buffer agent."
    ),
    "extraction-windows": (
        "What is extracted together. Written by the buffer agent, read by the extraction agent. It is memostream's "
        "own: read it if you like, write nothing to it."
    ),
    "profile-updated": (
        "Changes of profile entries, in a user's order. Written by the relay, read by your subscribers."
    ),
    "event-updated": "Changes of events, in a user's order. Written by the relay, read by your subscribers.",
    "profiles": (
        "The whole current profile of each user; a tombstone where one was forgotten. Written by the relay, read by "
        "your subscribers."
    ),
    "dead-letters": (
        "What was refused for good, with the reason in its headers. Written by the ingest and buffer agents for "
        "records, by the relay for pieces of windows. The value is the record's own bytes, or the blob in normal form; "
        "it is empty for a record that is larger than this topic takes."
    ),
    "memostream-buffer-buffer-changelog": "The buffer agent's state, from which it is rebuilt. memostream's own.",
}
RECORDS: Final[Mapping[str, Sequence[str]]] = {
    topic: tuple(record.__name__ for record in value.records) for topic, value in VALUES.items()
}
# Records without a model of their own that have examples.
FURTHER_EXAMPLES: Final[Mapping[str, str]] = {"profiles": "ProfileTombstone", "dead-letters": "DeadLetter"}
COMMON_RECORD: Final = "ChatBlob"


def topics_page() -> str:
    """The text of `docs/reference/topics.md`."""
    definitions = record_definitions("{model}")
    shown: set[str] = set()
    declared = declarations(KafkaSettings(), BufferSettings())
    parts = [HEAD, _overview(declared)]
    for topic in declared:
        parts.append(f"## {topic.name}\n\n{ABOUT[topic.name]}\n\n{_settings(topic)}")
        if topic.name in KEYS:
            parts.append(f"**Key:** {KEYS[topic.name]['description']}\n")
        for record in RECORDS.get(topic.name, ()):
            parts += _record(record, definitions, shown)
        if further := FURTHER_EXAMPLES.get(topic.name):
            parts += [_example(example, headers=True) for example in examples()[further]]
        if topic.name in HEADERS:
            parts.append(f"### Headers of {topic.name}\n\n{_headers(topic.name)}")
    return "\n".join(parts)


def _overview(declared: Iterable[TopicDeclaration]) -> str:
    rows = []
    for topic in declared:
        key = "user id" if KEYS.get(topic.name, {}).get("maxLength") else "`project/user`"
        key = {"dead-letters": "the original key"}.get(topic.name, key if topic.name in KEYS else "")
        policy, kept = topic.config["cleanup.policy"], _retention(topic)
        rows.append((f"[`{topic.name}`](#{topic.name})", key, policy, kept))
    return _table(("topic", "key", "cleanup", "kept"), rows)


def _settings(topic: TopicDeclaration) -> str:
    together = (
        ", the same number as the other two that are partitioned by the user's id" if topic.co_partitioned else ""
    )
    rows = [("partitions", f"{topic.partitions}{together}")]
    rows += [(f"`{name}`", f"{value}{_in_words(name, value)}") for name, value in sorted(topic.config.items())]
    return _table(("setting", "value"), rows)


def _in_words(name: str, value: str) -> str:
    if name in ("retention.ms", "delete.retention.ms", "max.compaction.lag.ms"):
        return " (for ever)" if int(value) < 0 else f" ({int(value) / DAY_MS:g} days)"
    return f" ({int(value) / MIB:.3g} MiB)" if name == "max.message.bytes" else ""


def _retention(topic: TopicDeclaration) -> str:
    if topic.config["cleanup.policy"] == "compact":
        return "the newest of each key"
    milliseconds = int(topic.config["retention.ms"])
    return "for ever" if milliseconds < 0 else f"{milliseconds / DAY_MS:g} days"


def _record(name: str, definitions: Mapping[str, Any], shown: set[str]) -> Iterator[str]:
    """A record, the models that it holds and that were not shown yet, and its examples."""
    shown.add(name)
    definition = definitions[name]
    fields: Mapping[str, Any] = definition["properties"]
    note = ""
    if name != COMMON_RECORD and name.endswith("Blob"):
        common = definitions[COMMON_RECORD]["properties"]
        fields = {field: schema for field, schema in fields.items() if schema != common.get(field)}
        note = f"\n\nAs [{COMMON_RECORD}](#{COMMON_RECORD.lower()}), except:"
    yield f"### {name}\n\n{definition['description']}{note}\n\n{_fields(fields, definition.get('required', ()))}"
    for inner in _referred(fields):
        if inner not in shown:
            yield from _record(inner, definitions, shown)
    for example in examples().get(name, ()):
        yield _example(example, headers=False)


def _fields(fields: Mapping[str, Any], required: Sequence[str]) -> str:
    rows = [
        (f"`{name}`", _type(schema), "yes" if name in required else "", schema.get("description", ""))
        for name, schema in fields.items()
    ]
    return _table(("field", "type", "required", ""), rows)


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return f"[{schema['$ref']}](#{schema['$ref'].lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(item) for item in schema["anyOf"])
    if "const" in schema:
        return f"`{orjson.dumps(schema['const']).decode()}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    named = schema.get("type", "any")
    types = [named] if isinstance(named, str) else list(named)
    told = [
        _list_of(schema) if name == "array" else str(schema.get("format") or name) for name in types if name != "null"
    ]
    return " or ".join([*told, "null"] if "null" in types else told)


def _list_of(schema: Mapping[str, Any]) -> str:
    return f"list of {_type(schema['items'])}" if "items" in schema else "list"


def _referred(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from _referred(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _referred(value)


def _headers(topic: str) -> str:
    rows = [
        (f"`{item.name}`", "always" if item.required else "", item.description + _constant(item.schema))
        for item in HEADERS[topic]
    ]
    return _table(("header", "there", ""), rows)


def _constant(schema: Mapping[str, Any]) -> str:
    return f" `{schema['const']}`" if "const" in schema else ""


def _example(example: Example, *, headers: bool) -> str:
    shown: Any = example.payload
    if headers:
        shown = {"key": example.key, "headers": dict(example.headers), "value": example.payload}
    text = orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()
    return f"Example: {example.summary}\n\n```json\n{text}\n```\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
