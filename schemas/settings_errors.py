"""What an error of the configuration says: where in it, what is wrong, and the nearest known key; never a value."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

# What one item of a list is called where the list's own name does not tell.
_ITEMS: Final = {"additional_user_profiles": "topic", "overwrite_user_profiles": "topic"}

# For people who write YAML.
_PLAINER: Final = {
    "missing": "is missing",
    "tuple_type": "must be a list",
    "model_type": "must hold keys and values",
    "dict_type": "must hold keys and values",
}


def spoken(path: Sequence[str | int]) -> str:
    """As in `profile.additional_user_profiles, topic 2, sub_topic 1, name`; items are counted from 1."""
    if not path:
        # What is no Unicode cannot name its own place.
        return "the text"
    parts: list[str] = []
    dotted: list[str] = []
    for part, following in zip(path, [*path[1:], ""], strict=True):
        if isinstance(part, int):
            parts.append(f"{dotted.pop()} {part + 1}")
        elif isinstance(following, int):
            if not parts:
                parts.append(".".join([*dotted, part]))
            dotted = [_ITEMS.get(part) or part.removesuffix("s")]
        else:
            dotted.append(part)
    return ", ".join([*parts, ".".join(dotted)] if dotted else parts)


def problems_of(error: ValidationError) -> Iterable[tuple[tuple[str | int, ...], str, str]]:
    """Path, kind and text of each problem. Inputs are left out: they may be secrets."""
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        text = _PLAINER.get(item["type"]) or item["msg"].removeprefix("Value error, ")
        yield item["loc"], item["type"], text


def unknown_key(path: Sequence[str | int], model: type[BaseModel], elsewhere: Iterable[str] = ()) -> str:
    """Names the key and the known one that is nearest: in its own section first, then anywhere.

    `elsewhere` are further words that could stand in the key's place.
    """
    sections = {name: _keys(field.annotation) for name, field in model.model_fields.items()}
    key, holder = str(path[-1]), path[:-1]
    own = {name: spoken((*holder, name)) for name in _keys(_inside(model, holder))} if holder else {}
    anywhere = {name: f"{section}.{name}" for section, names in sections.items() for name in names}
    places = {**dict(zip(sections, sections, strict=True)), **{word: word for word in elsewhere}}
    # A misspelt section, with a key that it knows.
    renamed = [f"{name}.{key}" for name in _close(str(path[0]), places) if key in sections.get(name, ())]
    found = _close(key, own) or renamed or _close(key, places | anywhere)
    hint = f"did you mean {found[0]}?" if found else f"known here: {', '.join(own.values() or sections)}"
    return f"unknown key {spoken(path)}; {hint}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    return next(iter(_close(word, {name: name for name in known})), None)


def _inside(annotation: Any, path: Sequence[str | int]) -> Any:
    """The type of what stands at `path`; None where it cannot be told."""
    for part in path:
        for model in _models(annotation):
            if isinstance(part, str) and part in model.model_fields:
                annotation = model.model_fields[part].annotation
                break
        else:
            if not isinstance(part, int):
                return None
    return annotation


def _keys(annotation: Any) -> Sequence[str]:
    return tuple(name for model in _models(annotation) for name in model.model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _close(word: str, known: Mapping[str, str]) -> list[str]:
    return [known[name] for name in difflib.get_close_matches(word, known, n=1)]
