"""`memostream why`: the chain behind a fact or an event."""

from typing import Annotated
from uuid import UUID

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

- `memostream why ann contact_info city`
- `memostream why ann work title --project shop --json | jq '.changes[].messages[].text'`
- `memostream why ann work title --no-text` — without reading messages
- `memostream why ann --event 8b0c0f6e-3c1a-4b47-9a53-0c0f7d9a1e11`
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(why)


def why(
    user: Annotated[str, typer.Argument(metavar="USER", help="User id.")],
    topic: Annotated[
        str | None, typer.Argument(metavar="TOPIC", help="Topic, as `memostream profile` names it.")
    ] = None,
    sub_topic: Annotated[str | None, typer.Argument(metavar="SUB_TOPIC", help="Sub-topic.")] = None,
    event: Annotated[UUID | None, typer.Option(metavar="ID", help="An event instead of a fact.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most N changes, the newest.")] = 20,
    text: Annotated[bool, typer.Option("--text/--no-text", help="Read and show what the messages say.")] = True,
    project: ProjectOption = "default",
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Show where a fact or an event comes from, down to the words.

    Of a fact all its changes are shown, also where it is not there any more: when it was said, who made it of what,
    and the messages with the quoted words marked. Messages are read from Postgres where it keeps them, else from their
    topic for as long as that holds them. With `--json` all is one object.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.why import show_event, show_slot

    if (event is None) != (topic is not None and sub_topic is not None) or (event is not None and topic is not None):
        raise typer.BadParameter("name a TOPIC and a SUB_TOPIC, or an --event")
    settings = settings_of(Place(config, data_dir, verbose))
    if event is not None:
        asyncio.run(show_event(settings, project, user, event, with_text=text, as_json=json))
    elif topic is not None and sub_topic is not None:
        asyncio.run(show_slot(settings, project, user, topic, sub_topic, limit=limit, with_text=text, as_json=json))
