"""Text as Postgres can keep it, and times and JSON as we publish them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from schemas.memory import MemoryUpdate, Quote
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


def storable_update(update: MemoryUpdate) -> MemoryUpdate:
    """The update with its text as Postgres can keep it, so that what is published equals what is stored."""

    def clean(text: str | None) -> str | None:
        return None if text is None else storable(text)

    def cleaned(quote: Quote) -> Quote:
        return replace(quote, text=storable(quote.text))

    extraction = update.extraction
    return replace(
        update,
        changes=tuple(
            replace(
                change,
                topic=storable(change.topic),
                sub_topic=storable(change.sub_topic),
                before=clean(change.before),
                after=clean(change.after),
                why=storable(change.why),
                joined=tuple(storable(name) for name in change.joined),
                quotes=tuple(cleaned(quote) for quote in change.quotes),
            )
            for change in update.changes
        ),
        extraction=replace(
            extraction,
            facts=tuple(
                replace(
                    fact,
                    topic=storable(fact.topic),
                    sub_topic=storable(fact.sub_topic),
                    memo=storable(fact.memo),
                )
                for fact in extraction.facts
            ),
            gists=tuple(
                replace(gist, text=storable(gist.text), quote=cleaned(gist.quote) if gist.quote else None)
                for gist in extraction.gists
            ),
            summary=clean(extraction.summary),
            tags=tuple((storable(tag), storable(value)) for tag, value in extraction.tags),
        ),
    )


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
