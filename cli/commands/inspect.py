"""`memostream audit`: where every record stands."""

from typing import Annotated

import typer

from cli.commands.options import DEFAULT_DATA_DIR, ConfigOption, DataDirOption, JsonOption, Place, VerboseOption

EPILOG = """
**Examples**

- `memostream audit` — all of chat-messages
- `memostream audit --topic-partition 3 --from-offset 1000 --to-offset 2000`
- `memostream audit --json | jq .counts` — exit code 1 if a record is missing
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(audit)


def audit(
    topic_partition: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only this partition of chat-messages.")
    ] = None,
    from_offset: Annotated[int | None, typer.Option(min=0, metavar="N", help="From this offset on.")] = None,
    to_offset: Annotated[int | None, typer.Option(min=0, metavar="N", help="Below this offset.")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Account for every record of chat-messages.

    Each is one of unread, buffered, extracting, held, applied, parked, erased, duplicate, forwarded, command, null,
    or missing, which must not be: exit code 1. A record that was split counts by its least finished piece.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.audit import Range, audit
    from cli.audit_view import audit_document, print_audit
    from cli.console import print_json

    settings = settings_of(Place(config, data_dir, verbose))
    report = asyncio.run(audit(settings, Range(topic_partition, from_offset, to_offset), quiet=json))
    if json:
        print_json(audit_document(report))
    else:
        print_audit(report)
    if not report.agrees:
        raise typer.Exit(1)
