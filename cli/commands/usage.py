"""`memostream usage`: what extraction has spent."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from cli.commands.options import (
    DEFAULT_DATA_DIR,
    ConfigOption,
    DataDirOption,
    JsonOption,
    Place,
    ProjectFilter,
    UserFilter,
    VerboseOption,
)

EPILOG = """
**Examples**

- `memostream usage` — by day, the last 30
- `memostream usage --by user --project shop --since 2026-11-01`
- `memostream usage --by model --since 2026-10-01 --until 2026-10-31 --json | jq .sum.cost`
"""

DAY = "%Y-%m-%d"


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(usage)


def usage(
    by: Annotated[
        Literal["day", "project", "user", "model", "shadow"], typer.Option("--by", help="What a line is of.")
    ] = "day",
    since: Annotated[
        datetime | None,
        typer.Option(formats=[DAY], metavar="DAY", help="First day (UTC). [default: 30 days with today]"),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=[DAY], metavar="DAY", help="Last day (UTC). [default: today]")
    ] = None,
    project: ProjectFilter = None,
    user: UserFilter = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Show what extraction has spent: calls, tokens, time and cost by day, project, user, model or shadow.

    Calls of attempts that came to nothing are counted, too, and those for shadows. Cost is by the price table of the
    configuration, as it was when the calls were made. Days are those of UTC. A user who was forgotten has no name any
    more.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.console import print_json
    from cli.usage import Period, read_report
    from cli.usage_view import print_report, report_document

    settings = settings_of(Place(config, data_dir, verbose))
    period = Period.of(since and since.date(), until and until.date(), datetime.now(UTC).date())
    report = asyncio.run(read_report(settings, by, period, project, user))
    if json:
        print_json(report_document(report))
    else:
        print_report(report)
