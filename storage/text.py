"""Text as Postgres can keep it, and times and JSON as we publish them."""

from datetime import UTC, datetime
from typing import Any

import orjson


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


def rfc3339(moment: datetime) -> str:
    """In UTC, with a `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def epoch_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def to_json(value: Any) -> str:
    """Compact JSON; a NUL in a string is escaped, so the text itself holds none."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
