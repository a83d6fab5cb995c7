"""docs/reference/logs.md lists every event that the code can log, with its level and its keys."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.dockerfile import ROOT

FOLDERS = ("schemas", "extraction", "storage", "streams", "agents", "api", "embedded", "cli")
LEVELS = ("debug", "info", "warning", "error", "critical")
NAME = re.compile(r"[a-z]+\.[a-z]+(_[a-z]+)*")
# What an event may not carry under any name: contents, secrets and addresses with passwords in them.
NEVER = {"text", "content", "message", "messages", "prompt", "reply", "value", "record", "document", "body", "headers"}
NEVER |= {"password", "api_key", "token", "secret", "url", "database_url", "dsn", "settings", "config"}
# Stands for keys whose names are counted things.
COUNTS = "…"


@dataclass(frozen=True)
class Event:
    """A call of the log, or a row of the page."""

    name: str
    level: str
    keys: frozenset[str]


def logged() -> Iterator[Event]:
    """Every call `log.<level>("name", key=...)`; anything else that is done with a log fails here."""
    called, touched = 0, 0
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(ast.Attribute(ast.Name("log"), level), [ast.Constant(str(name))], keywords):
                        assert level in LEVELS, file
                        called += 1
                        yield Event(name, level, frozenset(keyword.arg or COUNTS for keyword in keywords))
                    case ast.Attribute(ast.Name("log")):
                        touched += 1
    assert called == touched


def in_code() -> dict[str, Event]:
    """By name; calls of one name are of one level, and their keys add up."""
    events: dict[str, Event] = {}
    for event in logged():
        known = events.setdefault(event.name, event)
        assert known.level == event.level, event.name
        events[event.name] = Event(event.name, event.level, known.keys | event.keys)
    return events


def on_the_page() -> dict[str, Event]:
    text = (ROOT / "docs" / "reference" / "logs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \|(.*?)\| (.+) \|$", text, re.MULTILINE)
    events = [Event(name, level, frozenset(re.findall(r"`(\w+)`|(…)", keys))) for name, level, keys, _ in rows]
    flat = [Event(event.name, event.level, frozenset("".join(key) for key in event.keys)) for event in events]
    assert [event.name for event in flat] == sorted(event.name for event in flat), (
        "rows are in the order of their names"
    )
    return {event.name: event for event in flat}


def test_the_page_lists_every_event_with_its_level_and_its_keys() -> None:
    assert on_the_page() == in_code()


def test_events_are_named_by_a_part_and_what_happened_and_carry_nothing_that_was_said() -> None:
    for event in in_code().values():
        assert NAME.fullmatch(event.name), event.name
        assert not event.keys & NEVER, event.name


def test_only_the_log_of_structlog_is_used() -> None:
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert text.count("structlog.get_logger()") == len(re.findall(r"^log = structlog", text, re.MULTILINE)), (
                file
            )
            assert not re.search(r"^logger = |logging\.(debug|info|warning|error)\(", text, re.MULTILINE), file
