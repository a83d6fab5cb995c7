"""`memostream schema`: JSON Schemas, the AsyncAPI and the OpenAPI document."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import ConfigOption, JsonOption

EPILOG = """
**Examples**

- `memostream schema` — what there is
- `memostream schema --print profile-updated > profile-updated.json`
- `memostream schema --out schemas` — write all of it to a folder
- `memostream schema --out schemas --check` — exit code 1 if the folder holds something else
"""


def register(app: typer.Typer) -> None:
    app.command("schema", epilog=EPILOG)(print_schemas)


def print_schemas(
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write the files to this folder.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: name the files in --out that differ, and exit with 1.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--print", metavar="NAME", help="Print one, as in `profile-updated` or `asyncapi`.")
    ] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Describe topics as they are by default, whatever is configured.")
    ] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Write or print the schemas of all records and of the HTTP gateway.

    There is a JSON Schema for the value, the key and the headers of each topic, and an AsyncAPI 3 document with the
    topics' names and settings as they are configured, and the OpenAPI document of the HTTP gateway. Needs neither
    broker nor database.
    """
    import sys

    from cli.console import note, print_json
    from cli.console import out as console
    from cli.schema_files import differing_files, find_file, listed, schema_files, write_files
    from schemas.errors import ConfigurationError
    from schemas.settings import Settings, load_settings

    if check and out is None:
        raise ConfigurationError("--check compares a folder: name it with --out")
    if name is not None and out is not None:
        raise ConfigurationError("--print and --out exclude each other")
    files = schema_files(Settings() if defaults else load_settings(config))
    if name is not None:
        sys.stdout.write(find_file(files, name))
    elif out is None:
        for schema in listed():
            if json:
                print_json(schema)
            else:
                console().print(f"{schema['name']:<28}  {schema['description']}")
    elif not check:
        write_files(files, out)
        if json:
            print_json({"folder": str(out), "files": list(files)})
        else:
            note(f"{len(files)} files written to {out}")
    else:
        differing = differing_files(files, out)
        if json:
            print_json({"folder": str(out), "differing": list(differing)})
        else:
            for file in differing:
                console().print(str(out / file))
            note("these differ; memostream schema --out writes them anew" if differing else "all files are up to date")
        if differing:
            raise typer.Exit(1)
