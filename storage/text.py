"""Text as Postgres can keep it, and times and JSON as we publish them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from schemas.memory import Quote
from schemas.windows import MessageId


def storable(text: str) -> str:
    """Without NUL, which Postgres refuses, and without lone surrogates, which are no UTF-8."""
    return text.replace("\x00", "").encode("utf-8", errors="replace").decode()


def storable_json(value: Any) -> Any:
    """A JSON value with all its strings, keys too, made storable."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(key): storable_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(item) for item in value]
    return value


def quotes_to_json(quotes: Iterable[Quote]) -> list[dict[str, str]]:
    """Quotes as a column holds them."""
    return [{"message_id": quote.message_id, "quote": quote.text} for quote in quotes]


def quotes_from_json(document: Iterable[Mapping[str, str]]) -> tuple[Quote, ...]:
    """What `quotes_to_json` made."""
    return tuple(Quote(MessageId(item["message_id"]), item["quote"]) for item in document)


def rfc3339(moment: datetime) -> str:
    """In UTC, with a `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def epoch_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def to_json(value: Any) -> str:
    """Compact JSON; a NUL in a string is escaped, so the text itself holds none."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
