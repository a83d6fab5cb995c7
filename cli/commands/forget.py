"""`memostream forget`: remove all that is known of a user, and report what still holds data."""

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

- `memostream forget ann` — only say what there is
- `memostream forget ann --execute`
- `memostream forget ann --execute --json > ann.json` — the report, for whoever asked for the erasure
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(forget)


def forget(
    user: Annotated[str, typer.Argument(metavar="USER", help="User id.")],
    project: ProjectOption = "default",
    execute: Annotated[
        bool, typer.Option("--execute/--dry-run", help="Do it, or only say what would be removed.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also somebody of whom nothing is known, but whom a topic may hold.")
    ] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=0.1, metavar="S", help="Give up waiting after so many seconds.")
    ] = 300.0,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Remove all that is known of a user, wait until every stage has done its part, and report.

    What was sent before is never applied again, whatever reads it; what the user sends from now on begins a new memory.
    Kafka removes no single records of topics that it does not compact: the report says which, and until when. Stopped
    half-way, it is run again. Exit code 1 when the time runs out; what was asked for goes on.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.console import print_json
    from cli.erasure_view import print_report
    from cli.forgetting import Forget, forget_user

    settings = settings_of(Place(config, data_dir, verbose))
    report = asyncio.run(forget_user(settings, project, user, Forget(execute, timeout_s, force)))
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        print_report(report)
    if execute and not report.is_complete:
        raise typer.Exit(1)
