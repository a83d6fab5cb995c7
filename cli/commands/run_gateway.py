"""`memostream api`: the HTTP gateway."""

from typing import Annotated

import typer

from cli.commands.options import DEFAULT_DATA_DIR, ConfigOption, DataDirOption, Place, VerboseOption

EPILOG = """
**Examples**

- `MEMOSTREAM_API__ROOT_TOKEN=... memostream api` — then `curl http://127.0.0.1:8019/api/v1/healthcheck`
- `memostream project create shop` and `memostream api` — only that project's token is let in
- `memostream api --host 0.0.0.0 --port 80`
- `memostream api --insecure` — no token needed, for a try on this machine
"""


def register(app: typer.Typer) -> None:
    app.command("api", epilog=EPILOG)(api)


def api(
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address that takes requests. [default: api.host]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, max=65535, help="Port. [default: api.port]")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Start though there is no token at all: everybody may do everything.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
) -> None:
    """Run the HTTP gateway until Ctrl-C or SIGTERM. Brings the database up to date first.

    It speaks Memobase's API under /api/v1, so that Memobase's own clients work with it; /docs describes all of it.
    Workers run beside it: see `memostream worker`. `memostream up` runs a gateway, too. Any number of gateways may run
    side by side.

    Requests under way are answered before it ends, for api.shutdown_timeout_s at most, and 15 s later it has ended; a
    second Ctrl-C does not wait.
    """
    from cli.addresses import overridden, settings_of
    from cli.gateway import run_gateway
    from cli.running import StopLimit, run_until_stopped
    from streams.stopping import gateway_stop_limit_s

    settings = settings_of(Place(config, data_dir, verbose))
    given = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
    settings = overridden(settings, {"api": given})
    limit = StopLimit(gateway_stop_limit_s(settings.api), lambda: ["gateway"])
    raise typer.Exit(run_until_stopped(lambda stop: run_gateway(settings, stop, insecure=insecure), limit))
