"""`memostream ingest-check`: what a mapping makes of the records that are there, before anything is read for good."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import DEFAULT_DATA_DIR, ConfigOption, DataDirOption, JsonOption, Place, VerboseOption

EPILOG = """
**Examples**

- `memostream ingest-check` — the last 20 records of each topic in ingest.sources
- `memostream ingest-check --topic support.tickets --sample 200 --from-beginning`
- `memostream ingest-check --topic support.tickets --json | jq '.refused[].expression'`
- `memostream ingest-check --file sample.jsonl` — values from a file, one a line; needs no broker
"""


def register(app: typer.Typer) -> None:
    app.command("ingest-check", epilog=EPILOG)(ingest_check)


def ingest_check(
    topic: Annotated[str | None, typer.Option(metavar="TOPIC", help="Only this source. [default: all]")] = None,
    sample: Annotated[int, typer.Option(min=1, metavar="N", help="How many records of each topic.")] = 20,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="The oldest records instead of the newest.")
    ] = False,
    partition: Annotated[int | None, typer.Option(min=0, metavar="N", help="Only this partition.")] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Values of records, one JSON document a line, not a topic's.")
    ] = None,
    no_text: Annotated[bool, typer.Option("--no-text", help="Show sizes in place of what was said.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Show what the mappings of ingest.sources make of a sample of their records. Nothing is sent or committed.

    Each record is mapped, ignored on purpose, or refused with the field, the expression and the reason; what is refused
    here would be parked. Exit code 1 if anything is.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.ingest_check import Sample, check_file, check_topics, chosen_sources
    from cli.ingest_check_view import print_checked

    settings = settings_of(Place(config, data_dir, verbose))
    sources = chosen_sources(settings, topic)
    if file is not None:
        checked = check_file(settings, sources, file, sample)
    else:
        checked = asyncio.run(check_topics(settings, sources, Sample(sample, from_beginning, partition)))
    print_checked(checked, show_text=not no_text, as_json=json)
    if any(record.mapped.refusals for source in checked for record in source.records):
        raise typer.Exit(1)
