"""`memostream doctor`: what is wrong with the surroundings, and what to do about it."""

from typing import Annotated

import typer

from cli.commands.options import DEFAULT_DATA_DIR, ConfigOption, DataDirOption, JsonOption, Place

EPILOG = """
**Examples**

- `memostream doctor` — everything, one line a finding
- `memostream doctor --no-model` — no call to a model, so no token is paid for
- `memostream doctor --strict --json | jq '.findings[] | select(.level != "ok")'` — for scripts
"""


def register(app: typer.Typer) -> None:
    app.command(epilog=EPILOG)(doctor)


def doctor(
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=0.1, metavar="S", help="Give up a check after so many seconds.")
    ] = 10.0,
    no_model: Annotated[
        bool, typer.Option("--no-model", help="Ask no model endpoint. Asking costs about 15 tokens.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for a warning, too.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    json: JsonOption = False,
) -> None:
    """Check configuration, broker, topics, groups, database, models and clocks, and name the fix of each fault.

    It looks only: nothing is created, written or joined. A check that needs one with a fault is skipped. Exit code 1 if
    anything failed, 0 otherwise.
    """
    import asyncio

    from cli.addresses import quiet_libraries, settings_of
    from cli.console import out, print_json
    from cli.doctor.findings import Result, exit_code
    from cli.doctor.registry import diagnose
    from cli.doctor.view import document_of, lines_of, summary_of

    quiet_libraries()

    async def run() -> list[Result]:
        results = []
        place = Place(config, data_dir, verbose=False)
        async for result in diagnose(lambda: settings_of(place), timeout_s=timeout_s, ask_models=not no_model):
            results.append(result)
            for line in () if json else lines_of(result):
                out().print(line)
        return results

    results = asyncio.run(run())
    if json:
        print_json(document_of(results, strict=strict))
    else:
        out().print(summary_of(results))
    raise typer.Exit(exit_code(results, strict=strict))
