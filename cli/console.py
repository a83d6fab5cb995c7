"""Writing to the terminal: results on stdout, everything about the work itself on stderr."""

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def out() -> Console:
    """For results. Markup and emoji codes are off: what users said is printed as it is."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


def err() -> Console:
    """For progress, hints and errors."""
    return Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)


def report_error(error: Exception) -> None:
    """One line on stderr, for a person."""
    err().print(Text.assemble(("error: ", "bold red"), printable(str(error))))


def note(message: str, *, style: str = "dim") -> None:
    """A line about the work, on stderr."""
    err().print(Text(message, style=style))


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object on a line of its own, flushed, so that a pipe sees it at once."""
    import orjson

    sys.stdout.write(orjson.dumps(document, default=str).decode() + "\n")
    sys.stdout.flush()


def printable(text: str) -> str:
    """The text without control characters, which could steer the terminal; line breaks become blanks."""
    return "".join(character if character.isprintable() else " " for character in text)


def plain_table(*columns: str) -> Table:
    """A table with a line under its head and no other borders."""
    return Table(*columns, box=rich.box.SIMPLE_HEAD, pad_edge=False, header_style="bold")


def short_time(moment: datetime) -> str:
    """To the minute, in UTC."""
    return moment.strftime("%Y-%m-%d %H:%M")
