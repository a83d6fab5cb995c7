"""`memostream audit`: where every record stands, and whether what came of it agrees."""

from typing import Annotated

import typer

from cli.commands.options import DEFAULT_DATA_DIR, ConfigOption, DataDirOption, JsonOption, Place, VerboseOption

EPILOG = """
**Examples**

- `memostream audit` — all of chat-messages, and all that came of it
- `memostream audit --by-duration P1D` — what was written since yesterday
- `memostream audit --from-datetime 2026-11-20T00:00:00.000 --to-datetime 2026-11-21T00:00:00.000`
- `memostream audit --topic-partition 3 --from-offset 1000 --to-offset 2000 --check records`
- `memostream audit --json | jq .counts` — exit code 1 if anything is wrong
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(audit)


def audit(
    topic_partition: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only this partition of chat-messages.")
    ] = None,
    from_offset: Annotated[int | None, typer.Option(min=0, metavar="N", help="From this offset on.")] = None,
    to_offset: Annotated[int | None, typer.Option(min=0, metavar="N", help="Below this offset.")] = None,
    from_datetime: Annotated[
        str | None, typer.Option(metavar="TIME", help="From this time on: YYYY-MM-DDTHH:mm:SS.sss, in UTC.")
    ] = None,
    to_datetime: Annotated[str | None, typer.Option(metavar="TIME", help="Before this time, in the same form.")] = None,
    by_duration: Annotated[
        str | None, typer.Option(metavar="PnDTnHnMnS", help="From so long ago on: P1D, PT1H30M.")
    ] = None,
    check: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this check; may be given several times.")
    ] = None,
    outbox_age_s: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="What waits in the outbox for longer is wrong.")
    ] = 300.0,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Account for every record of chat-messages, and check what came of it.

    Each record is one of unread, buffered, extracting, held, applied, parked, erased, duplicate, forwarded, command,
    null, or missing, which must not be. A record that was split counts by its least finished piece.

    The checks are records, once, order, dead-letters, ledger, profiles, changes, change-order, orphans and outbox;
    each says how much it looked at and how much is wrong. Exit code 1 if anything is.
    """
    import asyncio
    from datetime import UTC, datetime

    from cli.addresses import settings_of
    from cli.audit import Range, audit
    from cli.audit_findings import chosen_checks
    from cli.audit_range import check_offsets, time_range
    from cli.audit_view import audit_document, print_audit
    from cli.console import print_json

    only = chosen_checks(check or ())
    check_offsets(from_offset, to_offset)
    times = time_range(from_datetime, to_datetime, by_duration, datetime.now(UTC))
    wanted = Range(topic_partition, from_offset, to_offset, times)
    settings = settings_of(Place(config, data_dir, verbose))
    report = asyncio.run(audit(settings, wanted, quiet=json, only=only, outbox_age_s=outbox_age_s))
    if json:
        print_json(audit_document(report))
    else:
        print_audit(report)
    if not report.agrees:
        raise typer.Exit(1)
