"""`memostream flush`: extract what is buffered now, and wait for it."""

from typing import Annotated

import typer

from cli.commands.options import (
    DEFAULT_DATA_DIR,
    ConfigOption,
    DataDirOption,
    JsonOption,
    Place,
    ProjectOption,
    VerboseOption,
)

EPILOG = """
**Examples**

- `memostream flush ann` — and wait until her messages are in memory
- `memostream flush --all` — everybody whose messages are buffered
- `memostream flush --all --wait-held --timeout-s 600 --json`
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(flush)


def flush(
    user: Annotated[str | None, typer.Argument(metavar="[USER]", help="User id.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Every user with buffered messages.")] = False,
    project: ProjectOption = "default",
    wait_held: Annotated[
        bool, typer.Option("--wait-held", help="Also wait for windows that are held because an endpoint is away.")
    ] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=0.1, metavar="S", help="Give up waiting after so many seconds.")
    ] = 300.0,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Close the windows of a user, or of everybody, and wait until they are extracted and stored.

    A flush travels behind the messages that were sent before it, so when this returns they are in memory.
    `--all` first waits until all that was sent is read, to the topics of ingest.sources too, and afterwards until
    extraction has finished every window. Exit code 1 when the time runs out; what was asked for goes on.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.console import out, print_json
    from cli.flushing import Flush, flush_all, flush_user

    if everybody == (user is not None):
        raise typer.BadParameter("name one USER, or say --all")
    settings = settings_of(Place(config, data_dir, verbose))
    options = Flush(timeout_s=timeout_s, wait_held=wait_held, quiet=json)
    work = flush_all(settings, options) if user is None else flush_user(settings, project, user, options)
    report = asyncio.run(work)
    if json:
        print_json({"users": report.users, "seconds": round(report.seconds, 3)})
    else:
        noun = "user" if report.users == 1 else "users"
        out().print(f"flushed {report.users:,} {noun} in {report.seconds:.1f} s")
