"""A setting's type in words, from its annotation."""

import types
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

# What the end of a key says about its value.
UNITS: Final = {
    "_s": "seconds",
    "_ms": "milliseconds",
    "_bytes": "bytes",
    "_tokens": "tokens",
    "_token_size": "tokens",
    "_rows": "rows",
}
_NAMES: Final[dict[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    Decimal: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret text",
    Any: "anything",
}


def type_of(key: str, field: FieldInfo) -> str:
    """As in `whole number above 0, tokens`, or `auto, en or zh`."""
    unit = next((unit for ending, unit in UNITS.items() if key.endswith(ending)), None)
    name = _name(field.annotation, field.metadata)
    return f"{name}, {unit}" if unit and "number" in name else name


def choices_of(annotation: Any) -> list[str]:
    """The words of a Literal."""
    bare, _ = _bare(annotation)
    return [str(choice) for choice in get_args(bare)] if get_origin(bare) is Literal else []


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a value of this type is, or holds."""
    bare, _ = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return [bare]
    return [model for part in get_args(bare) for model in models_in(part)]


def _bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        bare, more = _bare(inner)
        return bare, (*more, *metadata)
    return annotation, ()


def _name(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    bare, more = _bare(annotation)
    origin = get_origin(bare)
    if origin is Literal:
        return _either(choices_of(bare))
    if origin in (Union, types.UnionType):
        return _either([_name(part, metadata) for part in get_args(bare)])
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return "mapping"
    if bare is type(None):
        return "null"
    if bare in _NAMES:
        return _NAMES[bare] + _limits((*more, *metadata))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, value = (_name(part) for part in get_args(bare))
        return f"mapping of {key} to {value}"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"list of {_plural(_name(get_args(bare)[0]))}"
    raise TypeError(f"a setting of type {annotation} has no words here: add them")


def _limits(metadata: Iterable[Any]) -> str:
    words = []
    for item in metadata:
        # A limit may stand in a nested FieldInfo, as in `Annotated[int, Field(gt=0)]`.
        parts = item.metadata if isinstance(item, FieldInfo) else [item]
        for part in parts:
            match part:
                case Gt(gt=limit):
                    words.append(f"above {limit}")
                case Ge(ge=limit):
                    words.append(f"{limit} or more")
                case Lt(lt=limit):
                    words.append(f"below {limit}")
                case Le(le=limit):
                    words.append(f"{limit} or less")
    return " " + ", ".join(words) if words else ""


def _either(words: Sequence[str]) -> str:
    if len(words) == 1:
        return words[0]
    head = ", ".join(words[:-1])
    return f"{head}{',' if ',' in words[-2] or ' or ' in words[-2] else ''} or {words[-1]}"


def _plural(word: str) -> str:
    return {"text": "texts", "mapping": "mappings", "whole number": "whole numbers", "number": "numbers"}.get(
        word, word
    )
