"""Writes `config.yaml.example` and the reference pages from the models and commands: `python -m cli.reference`."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from cli.reference_commands import commands_page
from cli.reference_http import http_page
from cli.reference_metrics import metrics_page
from cli.reference_topics import topics_page
from cli.reference_types import choices_of, models_in, type_of
from schemas.memobase_keys import MEMOBASE_KEYS, MEMOBASE_VARIABLES
from schemas.settings import Settings
from schemas.settings_sources import ENVIRONMENT_PREFIX, NESTING

ROOT: Final = Path(__file__).parents[1]
WIDTH: Final = 115
MEMOBASE_PAGE: Final = Path("docs/how-to/memobase-configuration.md")

EXAMPLE_HEAD: Final = """\
# memostream's configuration. Copy it to config.yaml (read from the working directory, or from where --config or
# MEMOSTREAM_CONFIG says) and keep only what you change: every value below is the default.
#
# Stronger than this file: .env, then the environment, then the command line. A variable is named after its place,
# MEMOSTREAM_<SECTION>__<KEY>, for example MEMOSTREAM_LLM__API_KEY. Put secrets there, not here.
# A key that memostream does not know is an error that names the nearest one that it knows.
#
# A config.yaml of Memobase may take this file's place, or its keys may stand beside these sections:
# docs/how-to/memobase-configuration.md. Written by `make reference`.
"""

PAGE_HEAD: Final = """\
<!-- generated: by `make reference` from the settings' models -->
# Configuration

Every setting, with its type, its default and the variable that sets it. `config.yaml.example` holds the same as a file
to copy.

Settings are read from these places; the first one that sets a key wins:

1. options of the command line,
2. environment variables `MEMOSTREAM_<SECTION>__<KEY>`,
3. the same variables in a file `.env` of the working directory,
4. Memobase's variables `MEMOBASE_<KEY>`, in the environment or in `.env`,
5. the configuration file: `--config`, else `MEMOSTREAM_CONFIG`, else `config.yaml` of the working directory,
6. the defaults below.

The file is YAML, one mapping a section. It may be Memobase's own, or hold Memobase's keys beside our sections: see
[Coming from Memobase](../how-to/memobase-configuration.md). An empty variable counts as unset. Lists and mappings are
written as JSON in a variable; a key of a mapping may also have a variable of its own, as in
`MEMOSTREAM_LLM__DEFAULT_QUERY__region`.

An unknown key is an error that names the nearest known one. A wrong value is an error that names the key and the place
that set it, and never quotes the value. Put secrets into variables, not into the file.
"""


@dataclass(frozen=True, slots=True)
class Documented:
    """A key of a model, with what a person has to know of it."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def description(self) -> str:
        """A sentence; raises ValueError where the field has none."""
        text = " ".join((self.field.description or "").split())
        if not text:
            raise ValueError(f"{'.'.join(self.path)} has no description: give its Field one")
        return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "…", "...")) else ".")

    @property
    def default(self) -> str:
        """As YAML writes it in one line, or `required`."""
        return "required" if self.field.is_required() else as_yaml(self.field.get_default(call_default_factory=True))

    @property
    def examples(self) -> Sequence[Any]:
        return self.field.examples or ()


def documented(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Documented]:
    """The keys of a model, in order."""
    for name, field in model.model_fields.items():
        yield Documented((*path, name), field)


def every_key(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Documented]:
    """The keys of a model and of all models inside it, a section itself left out."""
    for key in documented(model, path):
        if path:
            yield key
        for inner in models_in(key.field.annotation):
            yield from every_key(inner, key.path)


def as_yaml(value: object) -> str:
    """One line of YAML."""
    text: str = yaml.safe_dump(_plain(value), default_flow_style=True, width=1 << 20, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(exclude_defaults=True))
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def example_file() -> str:
    """The text of `config.yaml.example`."""
    sections = []
    for section in documented(Settings):
        lines = [*_comment(_docstring(section)), f"{section.path[0]}:"]
        for key in documented(_model(section), section.path):
            lines += [f"  {line}" for line in _example_of(key)]
        sections.append("\n".join(lines) + "\n")
    return "\n".join([EXAMPLE_HEAD, *sections])


def _example_of(key: Documented) -> Iterator[str]:
    yield from _comment(key.description)
    choices = [choice for choice in choices_of(key.field.annotation) if choice not in key.description]
    if choices:
        yield from _comment(f"One of {', '.join(choices_of(key.field.annotation))}.")
    for inner in models_in(key.field.annotation):
        yield "# Keys of each:"
        for part in documented(inner):
            yield from _comment(f"{part.path[-1]} ({_type_and_default(part)}): {part.description}", "  ")
    for example in key.examples:
        yield "# For example:"
        block = yaml.safe_dump({key.path[-1]: example}, sort_keys=False, allow_unicode=True)
        yield from (f"#   {line}" for line in block.splitlines())
    yield f"{key.path[-1]}: {key.default}"


def _comment(text: str, indent: str = "") -> list[str]:
    lines = textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return [f"# {indent}{'  ' if indent and number else ''}{line}" for number, line in enumerate(lines)]


def reference_page() -> str:
    """The text of `docs/reference/configuration.md`."""
    parts = [PAGE_HEAD]
    for section in documented(Settings):
        model = _model(section)
        parts.append(f"## {section.path[0]}\n\n{_docstring(section)}\n\n{_table(model, section.path)}")
        for key in documented(model, section.path):
            parts += _inner(key)
    return "\n".join(parts)


def _inner(key: Documented) -> Iterator[str]:
    for inner in models_in(key.field.annotation):
        name = ".".join(key.path)
        yield f"### Keys of each of `{name}`\n\n{_table(inner, key.path, variables=False)}"
        for part in documented(inner, key.path):
            yield from _inner(part)
    for example in key.examples:
        document: Any = {key.path[-1]: example}
        for name in reversed(key.path[:-1]):
            document = {name: document}
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        yield f"An example of `{'.'.join(key.path)}`:\n\n```yaml\n{text}```\n"


def _table(model: type[BaseModel], path: tuple[str, ...], *, variables: bool = True) -> str:
    lines = ["| key | type | default | |", "|---|---|---|---|"]
    for key in documented(model, path):
        variable = f"<br>`{ENVIRONMENT_PREFIX}{NESTING.join(key.path).upper()}`" if variables else ""
        default = key.default if key.field.is_required() else f"`{key.default}`"
        cells = (f"`{key.path[-1]}`{variable}", type_of(key.path[-1], key.field), default, key.description)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _type_and_default(key: Documented) -> str:
    default = key.default if key.field.is_required() or len(key.default) > 40 else f"default {key.default}"
    return f"{type_of(key.path[-1], key.field)}; {default}"


def _model(section: Documented) -> type[BaseModel]:
    (model,) = models_in(section.field.annotation)
    return model


def _docstring(section: Documented) -> str:
    return " ".join((_model(section).__doc__ or "").split("\n\n")[0].split())


def generated() -> dict[Path, str]:
    """Every generated file, by its path from the root; of a page with generated parts, the rest is as it stands."""
    return {
        Path("config.yaml.example"): example_file(),
        Path("docs/reference/configuration.md"): reference_page(),
        Path("docs/reference/topics.md"): topics_page(),
        Path("docs/reference/cli.md"): commands_page(),
        Path("docs/reference/http-api.md"): http_page(),
        Path("docs/reference/metrics.md"): metrics_page(),
        MEMOBASE_PAGE: with_parts((ROOT / MEMOBASE_PAGE).read_text(encoding="utf-8"), memobase_parts()),
    }


def memobase_parts() -> dict[str, str]:
    """The tables of what becomes of Memobase's keys and variables."""
    keys = ["| Memobase's key | effect | here | |", "|---|---|---|---|"]
    for key in MEMOBASE_KEYS.values():
        setting = f"`{'.'.join(key.becomes)}`" if key.becomes else ""
        keys.append(f"| `{key.name}` | {key.effect} | {setting} | {key.note} |")
    variables = ["| variable | here |", "|---|---|"]
    variables += [f"| `{name}` | {note} |" for name, note in MEMOBASE_VARIABLES.items()]
    return {"keys": "\n".join(keys), "variables": "\n".join(variables)}


def with_parts(page: str, parts: Mapping[str, str]) -> str:
    """The page with each part between its two comments; raises ValueError where a page has them not."""
    for name, text in parts.items():
        pattern = re.compile(rf"(<!-- begin: {name}\b[^\n]*-->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        page, count = pattern.subn(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the page must hold the comments `begin: {name}` and `end: {name}` once")
    return page


def write(root: Path = ROOT) -> None:
    for path, text in generated().items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
