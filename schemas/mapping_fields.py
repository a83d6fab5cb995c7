"""One field of a mapping: what its expression yields, as the kind of value that the field takes. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from schemas.mapping import KNOWN_NAMES, IngestSource
from schemas.mapping_expressions import Expression, ExpressionError, compile_expression

MAPPING_FAILED: Final = "mapping-failed"
TOO_LARGE: Final = "too-large"
# Of `each` and of `messages`: a few bytes of a record become one of them, and each takes as long as a small record.
MAX_LISTED: Final = 10_000

# Of one record: messages that are read, and what its blobs take together in times of the largest one. An expression may
# repeat the whole record for each item, and nothing else of the worker moves on meanwhile.
MAX_MESSAGES: Final = 50_000
MAX_BLOBS_FACTOR: Final = 32

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"-?\d{1,18}(\.\d{1,9})?")


@dataclass(frozen=True, slots=True)
class CompiledSource:
    """A source with its expressions ready to be evaluated."""

    source: IngestSource
    expressions: Mapping[str, Expression]


class Refused(Exception):
    """A field that cannot be read; `found` is what its expression yielded."""

    def __init__(self, field: str, problem: str, found: Any = None, reason: str = MAPPING_FAILED) -> None:
        super().__init__(problem)
        self.field = field
        self.problem = problem
        self.found = found
        self.reason = reason


class Overgrown(Refused):
    """What one record would become is too much, whatever its single items are."""

    def __init__(self, problem: str) -> None:
        super().__init__("each", f"{problem}; map less", reason=TOO_LARGE)


@dataclass(slots=True)
class Room:
    """What is left of the limits of one record; items that are refused or left out take their part, too."""

    max_bytes: int
    messages: int = MAX_MESSAGES
    taken_bytes: int = 0

    def take_messages(self, count: int) -> None:
        self.messages -= count
        if self.messages < 0:
            raise Overgrown(f"yields more than {MAX_MESSAGES} messages of one record")

    def take_bytes(self, size_bytes: int) -> None:
        self.taken_bytes += size_bytes
        if self.taken_bytes > MAX_BLOBS_FACTOR * self.max_bytes:
            raise Overgrown(f"its blobs take more than {MAX_BLOBS_FACTOR} times buffer.max_blob_bytes together")


def compile_source(source: IngestSource) -> CompiledSource:
    return CompiledSource(
        source, {name: compile_expression(text, KNOWN_NAMES[name]) for name, text in source.expressions.items()}
    )


def time_text(mapping: CompiledSource, name: str, document: Mapping[str, Any]) -> str | None:
    """As RFC 3339; text that `time_format: rfc3339` brings is checked by the model."""
    found = search(mapping, name, document)
    unit = mapping.source.time_format
    if found is None:
        return None
    if unit == "rfc3339":
        if isinstance(found, str):
            return found
        fix = "must be a time like 2026-11-20T10:00:00Z"
        if _is_number(found):
            fix = "set time_format to epoch_s or epoch_ms"
        raise Refused(name, f"yields {kind_of(found)}; {fix}", found)
    # Registries and JavaScript often write long numbers as text.
    number = float(found) if isinstance(found, str) and _NUMBER.fullmatch(found) else found
    if not _is_number(number):
        raise Refused(name, f"yields {kind_of(found)}; time_format is {unit}, so it must be a number", found)
    try:
        moment = _EPOCH + (timedelta(milliseconds=number) if unit == "epoch_ms" else timedelta(seconds=number))
    except (OverflowError, ValueError):
        raise Refused(name, f"is outside the years 1 to 9999; time_format is {unit}", found) from None
    return moment.isoformat()


def required_text(mapping: CompiledSource, name: str, document: Mapping[str, Any]) -> str:
    text = text_or_none(mapping, name, document)
    if text is None:
        raise Refused(name, "yields nothing; map another field, or leave such records out with where")
    return text


def text_or_none(mapping: CompiledSource, name: str, document: Mapping[str, Any]) -> str | None:
    """Text, or a whole number as text: ids are often numbers elsewhere."""
    found = search(mapping, name, document)
    if found is None or isinstance(found, str):
        return found
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    raise Refused(name, f"yields {kind_of(found)}, must be text or a whole number", found)


def listed(mapping: CompiledSource, name: str, document: Mapping[str, Any]) -> list[Any]:
    found = search(mapping, name, document)
    if not isinstance(found, list):
        raise Refused(name, f"yields {kind_of(found)}, must be a list", found)
    if len(found) > MAX_LISTED:
        raise Refused(name, f"yields {len(found)}, of one record {MAX_LISTED} are taken", reason=TOO_LARGE)
    return found


def search(mapping: CompiledSource, name: str, document: Mapping[str, Any]) -> Any:
    """What the field's expression yields; None if it is not mapped."""
    expression = mapping.expressions.get(name)
    if expression is None:
        return None
    try:
        return expression.search(document)
    except ExpressionError as error:
        raise Refused(name, str(error)) from None


def is_true(value: Any) -> bool:
    """As JMESPath has it: zero is true."""
    return value is not None and value is not False and value not in ("", [], {})


def kind_of(value: Any) -> str:
    """In words that are JSON's, for a person."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
    return "an object"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
