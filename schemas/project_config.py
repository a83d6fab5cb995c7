"""A project's own configuration of its profiles, as YAML: Memobase's keys, read strictly when it is set."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import ConfigurationError
from schemas.profile_schema import Description, EventTag, PolicyLanguage, ProfileTopic
from schemas.settings_errors import problems_of, spoken, unknown_key

MAX_CHARACTERS: Final = 65_535
# Of lists and mappings in each other; the deepest key stands at five.
MAX_DEPTH: Final = 16
STRING_TAG: Final = "tag:yaml.org,2002:str"

Path = Sequence[str | int]


class ProjectConfig(BaseModel):
    """What a project says in place of the server's `profile` section; what is unset or null is as the server says."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    language: PolicyLanguage | None = Field(None, description="Of the prompts, as in `extraction.language`.")
    profile_strict_mode: bool | None = Field(None, description="Keep facts of the topics and sub_topics only.")
    profile_validate_mode: bool | None = Field(None, description="Check the first value of a slot, too.")
    additional_user_profiles: tuple[ProfileTopic, ...] | None = Field(
        None, description="Topics beside the server's. No effect beside overwrite_user_profiles."
    )
    overwrite_user_profiles: tuple[ProfileTopic, ...] | None = Field(
        None, description="Topics in place of the server's."
    )
    event_theme_requirement: Description = Field(None, description="What facts and events should be about.")
    event_tags: tuple[EventTag, ...] | None = Field(None, description="Tags of events; an empty list: none.")


def parse_project_config(text: str) -> ProjectConfig:
    """The configuration, or ConfigurationError that names each wrong key and its line and quotes no value."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigurationError(f"project configuration: {len(text)} characters, at most {MAX_CHARACTERS} are taken")
    root = _compose(text)
    if root is None:
        return ProjectConfig()
    try:
        values = yaml.SafeLoader("").construct_document(root)
    # YAML turns texts into dates and numbers by itself, and Python refuses some of them.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        where = _at(error) if isinstance(error, yaml.YAMLError) else "a date or number that cannot be; put it in quotes"
        raise ConfigurationError(f"project configuration: YAML cannot read a value ({where})") from None
    try:
        return ProjectConfig.model_validate(values)
    except ValidationError as error:
        lines = []
        for path, kind, problem in problems_of(error):
            said = unknown_key(path, ProjectConfig) if kind == "extra_forbidden" else f"{spoken(path)}: {problem}"
            lines.append(f"{said} (line {_line(root, path)})")
        raise ConfigurationError("project configuration: " + "; ".join(lines)) from None


def _compose(text: str) -> Any:
    """YAML's tree, which knows the lines; None for a text without any value."""
    try:
        _check_shape(text)
        root = yaml.compose(text, yaml.SafeLoader)
        problems = [] if root is None else list(_wrong_keys(root))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"project configuration: no YAML ({_at(error)})") from None
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise ConfigurationError("project configuration: the top level must be a mapping of keys")
    if problems:
        raise ConfigurationError("project configuration: " + "; ".join(problems))
    return root


def _check_shape(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            # A few lines of them unfold to more than any memory holds.
            raise ConfigurationError("project configuration: YAML aliases (*name) are not taken; write it out")
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None:
            # They make of a text what it is not, and PyYAML falls over some that do not fit.
            raise ConfigurationError(
                f"project configuration: YAML tags (!name) are not taken (line {event.start_mark.line + 1})"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise ConfigurationError(
                f"project configuration: nested more than {MAX_DEPTH} levels deep (line {event.start_mark.line + 1})"
            )


def _wrong_keys(node: Any) -> Iterator[str]:
    children = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        children = [value for _, value in node.value]
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != STRING_TAG:
                yield f"a key must be a name (line {key.start_mark.line + 1})"
            elif key.value in seen:
                yield f"{key.value}: stands there twice (line {key.start_mark.line + 1})"
            seen.add(str(key.value))
    for child in children:
        yield from _wrong_keys(child)


def _line(root: Any, path: Path) -> int:
    """Of the key or item at `path`, or of the innermost one around it that stands in the text; counted from 1."""
    node, line = root, root.start_mark.line
    for part in path:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = (node.value[part], node.value[part])
        if found is None:
            break
        line, node = found[0].start_mark.line, found[1]
    return int(line) + 1


def _at(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "a character that YAML does not allow"
