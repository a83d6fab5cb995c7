"""The `memostream` program: its commands, and what becomes of an error."""

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import typer

from cli.commands import (
    dead_letters,
    doctor,
    flush,
    forget,
    ingest,
    ingest_check,
    inspect,
    memory,
    project,
    publish_snapshot,
    raise_revisions,
    reembed,
    replay,
    run_gateway,
    run_system,
    schema,
    send,
    transfer,
    usage,
    why,
)
from cli.console import note, report_error
from schemas.errors import ConfigurationError, MemostreamError, RetryLater

FAILED = 1
MISCONFIGURED = 2
TERMINATED = 143
ADVICE = "`memostream doctor` says what is wrong; `memostream up` runs a broker and a database in this folder"

app = typer.Typer(
    name="memostream",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Long-term memory for LLM applications, as a stream processor on Kafka.",
)

for group in (
    *(run_system, run_gateway, send, ingest, memory, why, flush, inspect, usage, forget, publish_snapshot, project),
    *(ingest_check, transfer, replay, raise_revisions, dead_letters, reembed, doctor, schema),
):
    group.register(app)


def run() -> None:
    """The entry point: our own errors become a message and an exit code, any other error is a defect.

    Exit codes: 1 failed, 2 something must be configured or called differently, 130 interrupted by Ctrl-C.
    """
    if os.getpid() == 1:
        # The first process of a container gets only those signals that it has a handler for.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(TERMINATED))
    try:
        refuse_undecodable(sys.argv[1:])
        app(prog_name="memostream")
    except ConfigurationError as error:
        report_error(error)
        sys.exit(MISCONFIGURED)
    except MemostreamError as error:
        report_error(error)
        if isinstance(error, RetryLater):
            note(ADVICE)
        sys.exit(FAILED)


def refuse_undecodable(arguments: Iterable[str]) -> None:
    """Raise ConfigurationError for bytes that are no UTF-8: only the name of a file may hold them."""
    for number, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            if not Path(argument).exists():
                raise ConfigurationError(f"argument {number} is no UTF-8; which encoding has the terminal?") from None


if __name__ == "__main__":
    run()
