"""`memostream profile` and `memostream events`: what is remembered of a user."""

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

PROFILE_EPILOG = """
**Examples**

- `memostream profile ann`
- `memostream profile ann --project shop --json | jq -r '.entries[].content'`
"""

EVENTS_EPILOG = """
**Examples**

- `memostream events ann` — the newest 20
- `memostream events ann --limit 100 --json`
"""

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="User id.")]


def register(app: typer.Typer) -> None:
    app.command(epilog=PROFILE_EPILOG)(profile)
    app.command(epilog=EVENTS_EPILOG)(events)


def profile(
    user: UserArgument,
    project: ProjectOption = "default",
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Show a user's profile: each fact with the messages that it came from.

    A message is `<blob id>/<index in the blob>`. With `--json` the profile is one object.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.showing import show_profile

    settings = settings_of(Place(config, data_dir, verbose))
    asyncio.run(show_profile(settings, project, user, as_json=json))


def events(
    user: UserArgument,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most N, the newest.")] = 20,
    project: ProjectOption = "default",
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Show a user's events, oldest first, with the messages that they came from.

    With `--json` each line holds one event.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.showing import show_events

    settings = settings_of(Place(config, data_dir, verbose))
    asyncio.run(show_events(settings, project, user, limit=limit, as_json=json))
