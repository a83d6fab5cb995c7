"""Mappings of `memostream ingest`: one that is given, and those of shapes that many files have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import ValidationError

from cli.identifiers import check_ids
from schemas.errors import ConfigurationError
from schemas.mapping import IngestSource, TimeFormat
from schemas.mapping_fields import CompiledSource, compile_source
from schemas.records import describe_validation_error
from schemas.settings_sources import read_yaml

# What a mapping calls the topic of a file, which has none.
FILE: Final = "file"
# Seconds reach it in the year 5138, milliseconds did in 1973.
FIRST_MILLISECONDS: Final = 100_000_000_000

ROLES: Final = {
    **dict.fromkeys(("system", "developer", "tool", "function"), "drop"),
    "human": "user",
    **dict.fromkeys(("ai", "bot", "model"), "assistant"),
}
# Of a message whose content is a list, as of one with images, the texts count.
_CONTENT: Final = "type(message.content) == 'array' && join(`\"\\n\"`, message.content[?text].text) || message.content"
_WITH_TEXT: Final = "value.messages[?content && (type(content) != 'array' || content[?text])]"


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Keys or columns that the caller names, as `a.b` for `b` inside `a`; None is what they are usually called."""

    user: str | None = None
    content: str | None = None
    role: str | None = None
    time: str | None = None
    session: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller says of all files: names of fields, and what holds where a record says nothing."""

    names: FieldNames = FieldNames()
    user_id: str | None = None
    project_id: str | None = None
    role: str | None = None
    time_format: TimeFormat | None = None

    def check(self) -> None:
        """Raises ConfigurationError for a user or a project that cannot be."""
        check_ids(self.user_id, self.project_id)


@dataclass(frozen=True, slots=True)
class RecognisedSources:
    """Mappings of conversations with `messages` and of single messages, one for each way to write a time."""

    given: Given
    _compiled: dict[tuple[str, TimeFormat], CompiledSource] = field(default_factory=dict)

    def conversation(self, value: Mapping[str, Any]) -> CompiledSource:
        return self._source("conversation", value)

    def message(self, value: Mapping[str, Any]) -> CompiledSource:
        return self._source("message", value)

    def is_message(self, value: Mapping[str, Any]) -> bool:
        return self.given.names.content is not None or "content" in value

    def check_columns(self, name: str, columns: Sequence[str]) -> None:
        """Raises ConfigurationError for a table in which no column holds the text, or one that was named."""
        names = self.given.names
        known = ", ".join(columns)
        for option, wanted in (
            *(("--user-field", names.user), ("--content-field", names.content), ("--role-field", names.role)),
            *(("--time-field", names.time), ("--session-field", names.session), ("--id-field", names.id)),
        ):
            if wanted is not None and wanted.split(".")[0] not in columns:
                raise ConfigurationError(f"{name} has no column {wanted}, which {option} names; it has {known}")
        if names.content is None and not {"content", "messages", "blob_data"} & set(columns):
            raise ConfigurationError(
                f"{name} has the columns {known}; say with --content-field which of them holds the text, or with "
                "--mapping how a row is read"
            )

    def _source(self, shape: str, value: Mapping[str, Any]) -> CompiledSource:
        time_format = self.given.time_format or time_format_of(_time_in(value, self.given.names.time))
        key = (shape, time_format)
        if key not in self._compiled:
            keys = _conversation_keys(self.given) if shape == "conversation" else _message_keys(self.given)
            self._compiled[key] = compile_source(IngestSource.model_validate({**keys, "time_format": time_format}))
        return self._compiled[key]


def read_mapping(file: Path, given: Given) -> CompiledSource:
    """A mapping in a file of YAML: the keys of one of ingest.sources, but for `topic`.

    Raises ConfigurationError that names file and key.
    """
    keys = read_yaml(file)
    if not isinstance(keys, dict):
        raise ConfigurationError(f"{file} must hold the keys of one of ingest.sources, as user_id and content")
    try:
        return compile_source(IngestSource.model_validate(_with_given({"topic": FILE, **keys}, given)))
    except ValidationError as error:
        raise ConfigurationError(f"{file}: {describe_validation_error(error)}") from None


def for_files(source: IngestSource, given: Given) -> CompiledSource:
    """The mapping of a topic, with the caller's user and project where a record names none."""
    keys = source.model_dump(exclude_unset=True)
    return compile_source(IngestSource.model_validate(_with_given(keys, given)))


def time_format_of(value: Any) -> TimeFormat:
    """Seconds or milliseconds by their size; text that is no number is a date."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None:
        return "rfc3339"
    return "epoch_ms" if abs(number) >= FIRST_MILLISECONDS else "epoch_s"


def _with_given(keys: dict[str, Any], given: Given) -> dict[str, Any]:
    added: dict[str, Any] = {}
    if given.user_id is not None:
        named = keys.get("user_id")
        constant = _literal(given.user_id)
        added["user_id"] = constant if named is None else f"({named}) || {constant}"
    defaults = keys.get("defaults") or {}
    if given.project_id is not None and isinstance(defaults, dict):
        added["defaults"] = {**defaults, "project_id": given.project_id}
    return {**keys, **added}


def _message_keys(given: Given) -> dict[str, Any]:
    names = given.names
    return {
        **_shared_keys(given),
        "content": _field(names.content, "content"),
        "role": _field(names.role, "role"),
        "alias": "value.alias",
    }


def _conversation_keys(given: Given) -> dict[str, Any]:
    return {
        **_shared_keys(given),
        "messages": _WITH_TEXT,
        "content": _CONTENT,
        "role": "message.role",
        "alias": "message.name",
    }


def _shared_keys(given: Given) -> dict[str, Any]:
    names = given.names
    users = [_field(names.user, "user_id", "user")]
    if given.user_id is not None:
        users.append(_literal(given.user_id))
    defaults = {"project_id": given.project_id, "role": given.role}
    keys = {
        "topic": FILE,
        "user_id": " || ".join(users),
        "project_id": "value.project_id",
        "session_id": _field(names.session, "session_id", "conversation_id"),
        "created_at": _field(names.time, *_TIMES),
        "roles": ROLES,
        "defaults": {name: value for name, value in defaults.items() if value is not None},
    }
    return keys if names.id is None else {**keys, "id": _field(names.id)}


_TIMES: Final = ("created_at", "created", "timestamp")


def _time_in(value: Mapping[str, Any], name: str | None) -> Any:
    if name is None:
        return next((value[known] for known in _TIMES if value.get(known) not in (None, "")), None)
    found: Any = value
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _field(name: str | None, *usual: str) -> str:
    return " || ".join(
        ".".join(["value", *(orjson.dumps(part).decode() for part in path.split("."))])
        for path in ((name,) if name is not None else usual)
    )


def _literal(text: str) -> str:
    """As JMESPath writes a constant."""
    return "`{}`".format(orjson.dumps(text).decode().replace("`", "\\`"))
