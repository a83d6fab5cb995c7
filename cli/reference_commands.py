"""The reference page of the command line, as typer documents it."""

from typing import Final

import typer
from typer.cli import get_docs_for_click

from cli.main import app

NAME: Final = "memostream"
HEAD: Final = """\
<!-- generated: by `make reference` from the commands themselves -->
"""
TITLE: Final = "Command line"


def commands_page() -> str:
    """The text of `docs/reference/cli.md`."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name=NAME, title=TITLE)
    return HEAD + "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"
