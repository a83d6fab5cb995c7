"""`memostream publish-snapshot`: publish memory once more, as it is."""

from typing import Annotated

import typer

from cli.commands.options import DEFAULT_DATA_DIR, ConfigOption, DataDirOption, JsonOption, Place, VerboseOption

EPILOG = """
**Examples**

- `memostream publish-snapshot` — everybody, as after the loss of `profiles`
- `memostream publish-snapshot --project shop --events`
- `memostream publish-snapshot --user ann`
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(publish_snapshot)


def publish_snapshot(
    user: Annotated[str | None, typer.Option(metavar="ID", help="Only this user.")] = None,
    project: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this project. [default: all; with --user: default]")
    ] = None,
    events: Annotated[bool, typer.Option("--events", help="Also every event, on event-updated.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Publish memory as it is now: each entry on `profile-updated` with `op: "r"`, each whole profile on `profiles`.

    It rebuilds `profiles` after the loss of the topic, and whatever follows the changes. What is published stands
    behind the user's changes so far and before those that come; revisions stay. A worker with the role relay sends
    it. Stopped half-way, it is run again: a state that comes twice changes nothing.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.console import out, print_json
    from cli.identifiers import check_ids
    from cli.snapshots import publish_snapshot as publish

    check_ids(user, project)
    settings = settings_of(Place(config, data_dir, verbose))
    totals = asyncio.run(publish(settings, project, user, with_events=events))
    if json:
        print_json({"users": totals.users, "entries": totals.entries, "events": totals.events})
        return
    noun = "user" if totals.users == 1 else "users"
    out().print(f"in the outbox: {totals.entries:,} entries and {totals.events:,} events of {totals.users:,} {noun}")
