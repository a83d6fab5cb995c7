"""Options that several commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DATA_DIR = Path("memostream-data")
DATA_DIR_VARIABLE = "MEMOSTREAM_DATA_DIR"

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file. [default: MEMOSTREAM_CONFIG, else config.yaml if it is there]",
    ),
]
DataDirOption = Annotated[
    Path,
    typer.Option(
        envvar=DATA_DIR_VARIABLE,
        metavar="DIR",
        help="Folder of a broker and a database that `up` runs on this machine; used if they run.",
    ),
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say which addresses are used.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts, one object a line.")]
ExecuteOption = Annotated[bool, typer.Option("--execute/--dry-run", help="Do it, or only say what would be done.")]
ProjectOption = Annotated[str, typer.Option(metavar="ID", help="Project of the user.")]

UserFilter = Annotated[str | None, typer.Option(metavar="ID", help="Only this user.")]
ProjectFilter = Annotated[str | None, typer.Option(metavar="ID", help="Only this project.")]
ProjectArgument = Annotated[str, typer.Argument(metavar="PROJECT", help="Project id.")]


@dataclass(frozen=True)
class Place:
    """Where a command finds its configuration and, perhaps, a system on this machine."""

    config: Path | None
    data_dir: Path
    verbose: bool
