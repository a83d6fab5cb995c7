"""`memostream send` and `memostream watch`: messages in, change events out."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.commands.options import (
    DEFAULT_DATA_DIR,
    ConfigOption,
    DataDirOption,
    JsonOption,
    Place,
    VerboseOption,
)

SEND_EPILOG = """
**Examples**

- `memostream send --user ann "I moved to Oslo"` — one message
- `memostream send --user ann --assistant "Nice! Since when?" --session s1 "I moved to Oslo"`
- `memostream send chats.jsonl` — one record of chat-messages a line
- `jq -c .record export.json | memostream send -` — the same from a pipe
"""

WATCH_EPILOG = """
**Examples**

- `memostream watch` — what changes from now on
- `memostream watch --from-beginning --user ann`
- `memostream watch --json --limit 10 | jq .value.after` — for scripts
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=SEND_EPILOG)(send)
    app.command(epilog=WATCH_EPILOG)(watch)


def send(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="TEXT|FILE...", help="With --user a message; else JSONL files, - for stdin."),
    ],
    user: Annotated[str | None, typer.Option(metavar="ID", help="Who says the message.")] = None,
    project: Annotated[str | None, typer.Option(metavar="ID", help="Project, where a record names none.")] = None,
    assistant: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The assistant's reply, in the same record.")
    ] = None,
    role: Annotated[str, typer.Option(metavar="ROLE", help="Role of the message: user or assistant.")] = "user",
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When it was said, RFC 3339. [default: now]")] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Session of the message.")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Send chat messages: one, JSONL files, or standard input.

    Every line is checked first: a bad one is refused with its number and the reason, the good ones are sent, and the
    exit code is 1. A record without an id gets one that follows from its user, time, content and place, so that
    sending a file again changes nothing.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.console import out, print_json
    from cli.preparing import message_record
    from cli.sending import one_line, open_sources, send_lines

    if user is None:
        options = {"--assistant": assistant, "--at": at, "--session": session}
        given = [name for name, value in options.items() if value is not None] + ["--role"] * (role != "user")
        if given:
            raise typer.BadParameter(f"{given[0]} goes with a message: say whose it is with --user")
        lines = open_sources(sources)
    elif len(sources) > 1:
        raise typer.BadParameter("with --user there is one message; put it in quotes")
    else:
        record = message_record(
            sources[0],
            user_id=user,
            role=role,
            assistant=assistant,
            session_id=session,
            created_at=at or datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        lines = one_line(record)
    settings = settings_of(Place(config, data_dir, verbose))
    report = asyncio.run(send_lines(settings, lines, project_id=project, quiet=json))
    if json:
        print_json(
            {
                "sent": report.sent,
                "refused": report.refused,
                "seconds": round(report.seconds, 3),
                "rate_per_s": round(report.rate_per_s, 1),
            }
        )
    else:
        refused = f", refused {report.refused:,}" if report.refused else ""
        noun = "record" if report.sent == 1 else "records"
        out().print(f"sent {report.sent:,} {noun} ({report.rate_per_s:,.0f}/s){refused}")
    if report.refused:
        raise typer.Exit(1)


def watch(
    user: Annotated[str | None, typer.Option(metavar="ID", help="Only this user.")] = None,
    project: Annotated[str | None, typer.Option(metavar="ID", help="Only this project.")] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Also what is there already.")] = False,
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Also records that are refused, and why.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after N events.")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Show changes of profiles and events as they are published, until Ctrl-C.

    With `--json` each line holds topic, partition, offset, key, headers and value of one record.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.watching import Filter, watch_changes

    settings = settings_of(Place(config, data_dir, verbose))
    wanted = Filter(project_id=project, user_id=user, dead_letters=dead_letters)
    asyncio.run(watch_changes(settings, wanted, from_beginning=from_beginning, limit=limit, as_json=json))
