"""`memostream ingest`: backfill from files."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.commands.options import DEFAULT_DATA_DIR, ConfigOption, DataDirOption, JsonOption, Place, VerboseOption

EPILOG = """
**Examples**

- `memostream ingest chats.jsonl --dry-run` — what would be sent, and what would be refused and why
- `memostream ingest chats.jsonl --state chats.state` — stopped half-way, run it again and it goes on
- `memostream ingest tickets.csv --user-field customer --content-field text --role user --rate 500`
- `memostream ingest conversations.json --user ann` — an export of ChatGPT's
- `memostream ingest dump.jsonl.gz --mapping tickets.yaml` — any other shape
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(ingest)


def ingest(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="JSONL, JSON, CSV or Parquet; - for stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent; needs no broker.")] = False,
    user: Annotated[str | None, typer.Option(metavar="ID", help="User, where a record names none.")] = None,
    project: Annotated[str | None, typer.Option(metavar="ID", help="Project, where a record names none.")] = None,
    role: Annotated[
        Literal["user", "assistant"] | None, typer.Option(metavar="ROLE", help="Role, where a message names none.")
    ] = None,
    user_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Key or column of the user; a.b is b inside a.")
    ] = None,
    content_field: Annotated[str | None, typer.Option(metavar="NAME", help="Key or column of the text.")] = None,
    role_field: Annotated[str | None, typer.Option(metavar="NAME", help="Key or column of the role.")] = None,
    time_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Key or column of the time when it was said.")
    ] = None,
    session_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Key or column of the conversation.")
    ] = None,
    id_field: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Key or column of an id that is unique over all files. [default: none]"),
    ] = None,
    time_format: Annotated[
        Literal["rfc3339", "epoch_s", "epoch_ms"] | None,
        typer.Option(metavar="FORMAT", help="rfc3339, epoch_s or epoch_ms. [default: by how it looks]"),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML with the keys of one of ingest.sources, but for topic.")
    ] = None,
    topic: Annotated[str | None, typer.Option(metavar="TOPIC", help="Map as ingest.sources maps this topic.")] = None,
    file_format: Annotated[
        Literal["jsonl", "json", "csv", "parquet"] | None,
        typer.Option("--format", metavar="FORMAT", help="jsonl, json, csv or parquet. [default: by the file's name]"),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(metavar="CHARACTER", help="Of a CSV. [default: a comma, a tab for .tsv]")
    ] = None,
    sort: Annotated[
        bool | None,
        typer.Option("--sort/--no-sort", help="Send in the order of time. [default: only for JSON arrays]"),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, metavar="N", help="Records a second at most. [default: no limit]")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keeps how far it was sent; a later run with it skips that."),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Send what was said long ago, from files, with the times that it had.

    Read are records of chat-messages, messages with a user, a role and a content each, conversations with `messages` as
    OpenAI's API has them, and ChatGPT's export. Other shapes go by `--mapping`. Each record is checked first: a bad
    one is refused with its place and the reason, the good ones are sent, and the exit code is 1. Ids follow from
    content where there are none, so a file may be sent again, also under another name: it changes nothing.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.ingest.files import find_files
    from cli.ingest.plan import reading_of
    from cli.ingest.running import look_through, send_files
    from cli.ingest.sources import FieldNames, Given
    from cli.ingest.view import print_report

    names = FieldNames(user_field, content_field, role_field, time_field, session_field, id_field)
    given = Given(names, user, project, role, time_format)
    found = find_files(files, file_format, delimiter)
    settings = settings_of(Place(config, data_dir, verbose))
    reading = reading_of(settings, found, given, mapping_file=mapping, topic=topic, sort=sort)
    if dry_run:
        report = look_through(reading)
    else:
        report = asyncio.run(send_files(settings, reading, rate_per_s=rate, state_file=state, quiet=json))
    print_report(report, reading, dry_run=dry_run, as_json=json)
    if report.tally.refusals.count:
        raise typer.Exit(1)
