"""`memostream up`, `demo`, `worker` and `migrate`: what runs."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import (
    DATA_DIR_VARIABLE,
    DEFAULT_DATA_DIR,
    ConfigOption,
    DataDirOption,
    JsonOption,
    Place,
    VerboseOption,
)

UP_EPILOG = """
**Examples**

- `memostream up` — broker, database, worker and gateway; data in ./memostream-data
- `memostream up --data-dir /tmp/try`
- `MEMOSTREAM_EXTRACTION__PROVIDER=openai MEMOSTREAM_LLM__API_KEY=... memostream up`
"""

WORKER_EPILOG = """
**Examples**

- `memostream worker` — all roles in one process
- `memostream worker --roles buffer,relay` — and extraction in others
- `memostream worker --config /etc/memostream/config.yaml`
"""

MIGRATE_EPILOG = """
**Examples**

- `memostream migrate`
- `MEMOSTREAM_STORAGE__DATABASE_URL=postgresql+asyncpg://... memostream migrate`
"""

DEMO_EPILOG = """
**Examples**

- `memostream demo` — in a folder that is removed afterwards
- `memostream demo --data-dir /tmp/demo` — keeps the data, for `memostream up` to go on with
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=UP_EPILOG)(up)
    app.command(epilog=DEMO_EPILOG)(demo)
    app.command(epilog=WORKER_EPILOG)(worker)
    app.command(epilog=MIGRATE_EPILOG)(migrate)


def up(
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    roles: Annotated[
        str, typer.Option(metavar="ROLES", help="Roles of the worker; none for no worker.")
    ] = "ingest,buffer,extraction,relay",
    api: Annotated[bool, typer.Option(help="Run the HTTP gateway, too.")] = True,
) -> None:
    """Run a broker, a database, a worker and the HTTP gateway on this machine, until Ctrl-C. The data stays.

    The other commands find them by themselves when they are run in the same folder, or with the same --data-dir. The
    gateway's root token is made once and kept in the folder, in the file root-token; the file gateway-url says where it
    listens: at api.port, or at a free port where that is taken and not configured.
    """
    from cli.running import run_until_stopped
    from cli.up import up

    chosen = frozenset() if roles == "none" else _roles(roles)
    raise typer.Exit(run_until_stopped(lambda stop: up(config, data_dir, chosen, stop, with_gateway=api)))


def demo(
    config: ConfigOption = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(envvar=DATA_DIR_VARIABLE, metavar="DIR", help="Keep the data here. [default: a temporary folder]"),
    ] = None,
) -> None:
    """Watch sample conversations become memory: broker, database and worker on this machine, no keys needed."""
    from cli.demo import demo
    from cli.running import run_until_stopped

    raise typer.Exit(run_until_stopped(lambda stop: demo(config, data_dir, stop)))


def worker(
    roles: Annotated[
        str, typer.Option(metavar="ROLES", help="Which of ingest, buffer, extraction, relay; comma-separated.")
    ] = "ingest,buffer,extraction,relay",
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
) -> None:
    """Run a worker until Ctrl-C or SIGTERM. Brings the database up to date first.

    Exit code 0 when it was told to stop, 1 when something unexpected happened: nothing later than the record at fault
    is acknowledged then, so that the next worker begins with it.

    Stopping takes worker.shutdown_timeout_s and 25 s at most; a worker that hangs then ends with exit code 3. A second
    Ctrl-C or SIGTERM ends it at once.
    """
    from cli.addresses import settings_of
    from cli.running import StopLimit, run_until_stopped
    from cli.up import work
    from streams.stopping import Parts, stop_limit_s

    settings = settings_of(Place(config, data_dir, verbose))
    parts = Parts()
    limit = StopLimit(stop_limit_s(settings.worker), lambda: parts.running)
    raise typer.Exit(run_until_stopped(lambda stop: work(settings, _roles(roles), stop, parts), limit))


def migrate(
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Create or upgrade the database's tables. Does nothing where they are up to date."""
    import asyncio

    from cli.addresses import settings_of
    from cli.console import out, print_json
    from streams.worker import migrate_database

    settings = settings_of(Place(config, data_dir, verbose))
    asyncio.run(migrate_database(settings))
    if json:
        print_json({"migrated": True})
    else:
        out().print("the database is up to date")


def _roles(text: str) -> frozenset[str]:
    return frozenset(role.strip() for role in text.split(",") if role.strip())
