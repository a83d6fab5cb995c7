"""Change events as they come: read committed, one line for a person or one JSON object for a script."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiokafka import TopicPartition
from rich.text import Text

from cli.console import note, out, print_json, printable
from schemas import headers as names
from schemas.changes import ChangeEvent, EventChanged, ProfileChanged
from schemas.settings import Settings
from streams.clients import admin, consumer, translated
from streams.topics import Topics, ensure_topics, partition_counts

POLL_MS: Final = 1000
SHOWN_MESSAGE_IDS: Final = 3
SIGNS: Final[Mapping[str, tuple[str, str]]] = {
    "c": ("+", "green"),
    "u": ("~", "yellow"),
    "d": ("-", "red"),
    "r": ("=", "dim"),
}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records to show; None is any."""

    project_id: str | None = None
    user_id: str | None = None
    dead_letters: bool = False

    def wants(self, project_id: str | None, user_id: str | None) -> bool:
        return (self.project_id in (None, project_id)) and (self.user_id in (None, user_id))


async def watch_changes(
    settings: Settings, wanted: Filter, *, from_beginning: bool, limit: int | None, as_json: bool
) -> None:
    """Print what is published until `limit` records were shown, or for ever."""
    console = out()
    shown = 0

    def on_watching() -> None:
        if not as_json:
            note("watching; Ctrl-C stops")

    found = changes(settings, wanted, from_beginning=from_beginning, on_watching=on_watching)
    async with aclosing(found) as records:
        async for record in records:
            if as_json:
                print_json(as_document(record))
            else:
                console.print(describe_record(record, Topics(settings.kafka.topic_prefix)))
            shown += 1
            if shown == limit:
                return


async def changes(
    settings: Settings,
    wanted: Filter,
    *,
    from_beginning: bool,
    on_watching: Callable[[], None] = lambda: None,
) -> AsyncGenerator[Any, None]:
    """Records of the change topics that are wanted; `on_watching` is called once none can be missed any more."""
    topics = Topics(settings.kafka.topic_prefix)
    watched = [topics.profile_updated, topics.event_updated]
    if wanted.dead_letters:
        watched.append(topics.dead_letters)
    await ensure_topics(settings.kafka, settings.buffer)
    async with admin(settings.kafka) as admin_client:
        counts = await partition_counts(admin_client, watched)
    positions = [TopicPartition(topic, number) for topic in watched for number in range(counts[topic])]
    async with consumer(settings.kafka) as client:
        client.assign(positions)
        with translated("watching"):
            if from_beginning:
                await client.seek_to_beginning(*positions)
            else:
                # Not lazily, as seek_to_end does: what comes from now on must be seen.
                for position, offset in (await client.end_offsets(positions)).items():
                    client.seek(position, offset)
            on_watching()
            while True:
                fetched = await client.getmany(timeout_ms=POLL_MS)
                for records in fetched.values():
                    for record in records:
                        if wanted.wants(*user_of(record, topics)):
                            yield record


def user_of(record: Any, topics: Topics) -> tuple[str | None, str | None]:
    """(project, user) of a change event; a dead letter's project is in its value, which may be anything."""
    if record.topic != topics.dead_letters:
        project_id, _, user_id = _text(record.key or b"").partition("/")
        return project_id, user_id
    try:
        document = orjson.loads(record.value or b"null")
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        return None, None
    return document.get("project_id", "default"), document.get("user_id")


def as_document(record: Any) -> dict[str, Any]:
    """A record for a script: where it lies, its headers as text, and its value."""
    try:
        value = orjson.loads(record.value or b"null")
    except orjson.JSONDecodeError:
        value = _text(record.value)
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp,
        "key": None if record.key is None else _text(record.key),
        "headers": {name: None if header is None else _text(header) for name, header in record.headers},
        "value": value,
    }


def describe_record(record: Any, topics: Topics) -> Text:
    """A record for a person."""
    if record.topic == topics.dead_letters:
        # A producer's own headers travel with a dead letter, and may have no value.
        return describe_dead_letter({name: _text(header or b"") for name, header in record.headers})
    if record.topic == topics.profile_updated:
        return describe_profile_change(ProfileChanged.model_validate_json(record.value))
    return describe_event_change(EventChanged.model_validate_json(record.value))


def describe_profile_change(change: ProfileChanged) -> Text:
    """`12:00:00 + ann  work/employer: "Acme"  ← message ids`."""
    entry = change.after or change.before
    line = _head(change)
    if entry is not None:
        line.append(f"{printable(entry.topic)}/{printable(entry.sub_topic)}: ", "cyan")
        if change.before is not None and change.op != "d":
            line.append(printable(change.before.content), "dim strike")
            line.append(" → ", "dim")
        line.append(printable(entry.content), "strike" if change.op == "d" else "bold")
    return line + sources(change.source.message_ids)


def describe_event_change(change: EventChanged) -> Text:
    """The event's summary, else its first line, and how many lines more."""
    event = change.after or change.before
    gists = [gist.text for gist in event.gists] if event else []
    text = (event.summary if event else None) or (gists[0] if gists else "")
    line = _head(change)
    line.append("event: ", "magenta")
    line.append(printable(text))
    if len(gists) > 1:
        line.append(f" (+{len(gists) - 1} more)", "dim")
    return line + sources(change.source.message_ids)


def describe_dead_letter(headers: Mapping[str, str]) -> Text:
    """Where it came from and why it was refused; not what it says."""
    position = "/".join(
        headers.get(name, "?") for name in (names.ERROR_TOPIC, names.ERROR_PARTITION, names.ERROR_OFFSET)
    )
    expression = headers.get(names.ERROR_EXPRESSION)
    return Text.assemble(
        ("! dead letter ", "red"),
        (position, "bold"),
        f" {headers.get(names.ERROR_REASON, '?')}: {printable(headers.get(names.ERROR_MESSAGE, ''))}",
        "" if expression is None else f" [{printable(expression)}]",
    )


def sources(message_ids: Any) -> Text:
    """The messages that something was taken from."""
    found = list(message_ids)
    if not found:
        return Text()
    more = f" +{len(found) - SHOWN_MESSAGE_IDS}" if len(found) > SHOWN_MESSAGE_IDS else ""
    return Text(f"  ← {printable(', '.join(found[:SHOWN_MESSAGE_IDS]))}{more}", "dim")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _head(change: ChangeEvent[Any]) -> Text:
    sign, colour = SIGNS[change.op]
    when = datetime.fromtimestamp(change.ts_ms / 1000, UTC).strftime("%H:%M:%S")
    user = change.user_id if change.project_id == "default" else f"{change.project_id}/{change.user_id}"
    return Text.assemble((f"{when} ", "dim"), (f"{sign} ", colour), (f"{printable(user)}  ", "bold"))
