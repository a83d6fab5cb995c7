"""`memostream replay status`, `diff`, `promote` and `discard`: what becomes of a shadow."""

from typing import Annotated

import typer

from cli.commands.options import (
    DEFAULT_DATA_DIR,
    ConfigOption,
    DataDirOption,
    ExecuteOption,
    JsonOption,
    Place,
    ProjectFilter,
    UserFilter,
    VerboseOption,
)

STATUS_EPILOG = """
**Examples**

- `memostream replay status` — all shadows
- `memostream replay status better --json | jq .behind`
"""
DIFF_EPILOG = """
**Examples**

- `memostream replay diff better` — those whose memory would change most, the sum, and samples
- `memostream replay diff better --user ann --samples 50`
- `memostream replay diff better --json | jq -c 'select(.removed > 5)'`
"""
PROMOTE_EPILOG = """
**Examples**

- `memostream replay promote b` — for whom it could be done now, and for whom not
- `memostream replay promote b --user ann --execute` — one user first, to look at
- `memostream replay promote b --execute` — everybody
"""
DISCARD_EPILOG = """
**Examples**

- `memostream replay discard better` — only say what would go
- `memostream replay discard better --execute`
"""

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the shadow.")]


def register(group: typer.Typer) -> None:
    """Add the commands to `memostream replay`."""
    group.command(epilog=STATUS_EPILOG)(status)
    group.command(epilog=DIFF_EPILOG)(diff)
    group.command(epilog=PROMOTE_EPILOG)(promote)
    group.command(epilog=DISCARD_EPILOG)(discard)


def status(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this shadow, and all about it.")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Show how far shadows are: records that wait, workers, users, windows, what is parked, and the cost so far."""
    import asyncio

    from cli.addresses import settings_of
    from cli.console import print_json
    from cli.shadow_status import read_status
    from cli.shadow_status_view import print_status, print_statuses, status_document

    settings = settings_of(Place(config, data_dir, verbose))
    currency = settings.prices.currency
    found = asyncio.run(read_status(settings, name))
    if json:
        for one in found:
            print_json(status_document(one, currency))
    elif name is None:
        print_statuses(found, currency)
    else:
        print_status(found[0], currency)


def diff(
    name: NameArgument,
    user: UserFilter = None,
    project: ProjectFilter = None,
    samples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show so many differences; of each user, with --json.")
    ] = 10,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Compare a shadow with live memory: facts that would be added, removed or changed, and what stays.

    What was edited by hand stays, unless the shadow holds something that was said later. Users who are promoted already
    are not compared. It reads user by user, and changes nothing.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.identifiers import check_ids
    from cli.shadow_diff import comparing
    from cli.shadow_diff_view import print_json_lines, print_report

    check_ids(user, project)
    settings = settings_of(Place(config, data_dir, verbose))

    async def compare() -> None:
        async with comparing(settings, name) as comparison:
            users = comparison.users(project, user)
            await (print_json_lines if json else print_report)(comparison, users, samples)

    asyncio.run(compare())


def promote(
    name: NameArgument,
    user: UserFilter = None,
    project: ProjectFilter = None,
    execute: ExecuteOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Put a shadow in the place of live memory, user by user, with what was edited by hand on top.

    Live workers must extract as the shadow does, and one of the shadow's must run. Of each user it is made sure that
    the shadow has read all that live memory rests on, and only what is different then is published. Who cannot be
    promoted stays as they are, and is named. Stopped at any point, it is run again, and goes on.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.identifiers import check_ids
    from cli.promoting import Wanted
    from cli.promoting import promote as promote_shadow
    from cli.promotion_view import print_report
    from schemas.records import DEFAULT_PROJECT_ID
    from streams.shadow_topics import check_name

    check_ids(user, project)
    settings = settings_of(Place(config, data_dir, verbose))
    wanted = Wanted(DEFAULT_PROJECT_ID if user is not None and project is None else project, user)
    report = asyncio.run(promote_shadow(settings, check_name(name), wanted, execute=execute, quiet=json))
    print_report(report, as_json=json)


def discard(
    name: NameArgument,
    keep_promoted: Annotated[
        bool,
        typer.Option(
            "--keep-promoted", help="After a promotion that was cut short: leave those as they are who are promoted."
        ),
    ] = False,
    execute: ExecuteOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Remove a shadow: its rows, its topics and its consumer groups. Memory that was promoted stays.

    Its workers must be stopped. What it has spent stays in `usage`. Stopped half-way, it is called again, and goes on.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.shadow_discard import discard
    from cli.shadow_discard_view import print_discard

    settings = settings_of(Place(config, data_dir, verbose))
    found = asyncio.run(discard(settings, name, execute=execute, keep_promoted=keep_promoted, quiet=json))
    print_discard(found, as_json=json)
