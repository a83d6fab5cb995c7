"""`memostream export`, `import` and `import-memobase`: users' whole memory, out and in."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import (
    DEFAULT_DATA_DIR,
    ConfigOption,
    DataDirOption,
    ExecuteOption,
    JsonOption,
    Place,
    ProjectOption,
    VerboseOption,
)

URL_VARIABLE = "MEMOSTREAM_MEMOBASE_URL"

EXPORT_EPILOG = """
**Examples**

- `memostream export ann --out ann.jsonl`
- `memostream export --project shop --out shop.jsonl` — all users of a project, one a line
- `memostream export ann | jq .profile`
"""
IMPORT_EPILOG = """
**Examples**

- `memostream import ann.jsonl` — only say what would be imported, and what would be refused
- `memostream import ann.jsonl --execute`
- `memostream import shop.jsonl --project shop-2 --execute` — into another project
"""
MEMOBASE_EPILOG = """
**Examples**

- `export MEMOSTREAM_MEMOBASE_URL=$(cat memobase-url)` — so that no password stands in the shell's history
- `memostream import-memobase` — only say what would be imported, and what would be refused
- `memostream import-memobase --unprocessed rest.jsonl --execute` — then `memostream send rest.jsonl`
"""

ForgottenOption = Annotated[
    bool, typer.Option("--forgotten", help="Also users who were forgotten here, whom nothing else brings back.")
]


def register(app: typer.Typer) -> None:
    app.command("export", epilog=EXPORT_EPILOG)(export_memory)
    app.command("import", epilog=IMPORT_EPILOG)(import_memory)
    app.command("import-memobase", epilog=MEMOBASE_EPILOG)(import_from_memobase)


def export_memory(
    user: Annotated[str | None, typer.Argument(metavar="USER", help="User id. [default: all of the project]")] = None,
    project: ProjectOption = "default",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to this file. [default: stdout]")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON; goes with --out.")] = False,
) -> None:
    """Export a user's whole memory, or that of all users of a project, as JSON: one user a line.

    Entries with their history, events with their lines, edits by hand, which blobs are in it, texts that Postgres
    keeps, and the user's fields; each user as of one moment. Embeddings are made again where it is imported. What is
    still buffered is not in it: flush first.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.exports import export_users
    from cli.identifiers import check_ids
    from cli.transfer_report import print_export

    if json and out is None:
        raise typer.BadParameter("--json goes with --out, for the export itself stands on stdout")
    check_ids(user, project, user_option="USER")
    settings = settings_of(Place(config, data_dir, verbose))
    report = asyncio.run(export_users(settings, project, user, out, quiet=json or out is None))
    print_export(report, as_json=json)


def import_memory(
    file: Annotated[str, typer.Argument(metavar="FILE", help="An export, or - for stdin.")],
    project: Annotated[
        str | None, typer.Option(metavar="ID", help="Into this project. [default: that of each user]")
    ] = None,
    forgotten: ForgottenOption = False,
    execute: ExecuteOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Import users from an export, whole, with ids, times and history; the state is published with `op: "r"`.

    A user of whom something is remembered here already is refused, unless it is the same: then nothing is written. So
    a second import changes nothing. Exit code 1 where a user is refused.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.identifiers import check_ids
    from cli.imports import import_file
    from cli.transfer_report import print_import

    check_ids(None, project)
    settings = settings_of(Place(config, data_dir, verbose))
    report = asyncio.run(
        import_file(settings, file, project, executes=execute, revives_forgotten=forgotten, quiet=json)
    )
    print_import(report, executed=execute, as_json=json)
    if report.users["refused"]:
        raise typer.Exit(1)


def import_from_memobase(
    url: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="URL",
            envvar=URL_VARIABLE,
            help="Memobase's database: postgresql://reader:...@host:5432/memobase. It is only read.",
        ),
    ],
    project: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this project of Memobase. [default: all]")
    ] = None,
    root_project: Annotated[
        str, typer.Option(metavar="ID", help="Project here for what Memobase calls __root__.")
    ] = "default",
    unprocessed: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write blobs that Memobase has not processed here, for `memostream send`."),
    ] = None,
    forgotten: ForgottenOption = False,
    execute: ExecuteOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Import users from Memobase's Postgres: profiles, events, gists and kept blobs, with their ids and times.

    Each user is a transaction: stopped half-way, it is run again, and who is there already is left as they are. Exit
    code 1 where a user is refused.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.console import note
    from cli.memobase_import import import_memobase, more_of
    from cli.transfer_report import print_import

    settings = settings_of(Place(config, data_dir, verbose))
    report = asyncio.run(
        import_memobase(
            settings,
            url,
            project_id=project,
            root_project=root_project,
            unprocessed=unprocessed,
            executes=execute,
            revives_forgotten=forgotten,
            quiet=json,
        )
    )
    print_import(report, executed=execute, as_json=json, more=more_of(report, unprocessed))
    if report.unprocessed and not json:
        where = f"are in {unprocessed}; `memostream send` takes it" if unprocessed else "stay there: see --unprocessed"
        note(f"{report.unprocessed:,} blobs that Memobase has not processed {where}")
    if report.users["refused"]:
        raise typer.Exit(1)
