"""`memostream reembed`: another embedding model or dimension, while everything goes on."""

from typing import Annotated

import typer

from cli.commands.options import (
    DEFAULT_DATA_DIR,
    ConfigOption,
    DataDirOption,
    ExecuteOption,
    JsonOption,
    Place,
    VerboseOption,
)

PLAN_EPILOG = """
**Examples**

- `memostream reembed plan --config next.yaml`
"""
RUN_EPILOG = """
**Examples**

- `memostream reembed run --config next.yaml` — only say what would be done
- `memostream reembed run --config next.yaml --execute` — until `finish` or `abandon`
- `memostream reembed run --config next.yaml --execute --until-ready --rate 200`
"""
STATUS_EPILOG = """
**Examples**

- `memostream reembed status`
- `memostream reembed status --json | jq .is_ready`
"""
FINISH_EPILOG = """
**Examples**

- `memostream reembed finish` — whether it may be done
- `memostream reembed finish --execute`
"""
ABANDON_EPILOG = """
**Examples**

- `memostream reembed abandon --execute`
"""


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="markdown",
        help="Another embedding model or dimension, while everything goes on.",
    )
    group.command(epilog=PLAN_EPILOG)(plan)
    group.command(epilog=RUN_EPILOG)(run)
    group.command(epilog=STATUS_EPILOG)(status)
    group.command(epilog=FINISH_EPILOG)(finish)
    group.command(epilog=ABANDON_EPILOG)(abandon)
    app.add_typer(group, name="reembed")


def plan(
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Say what it takes to embed all texts by the model of a configuration: texts, calls, tokens and their cost.

    The configuration is the one that is to follow: with another embedding.model or embedding.dimension, and the same
    database. Tokens are estimated from the lengths of the texts, on the high side.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.reembedding import plan as make_plan
    from cli.reembedding_view import print_plan

    settings = settings_of(Place(config, data_dir, verbose))
    print_plan(asyncio.run(make_plan(settings)), settings.prices.currency, as_json=json)


def run(
    execute: ExecuteOption = False,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Calls that are open at a time.")] = 4,
    rate: Annotated[
        float | None, typer.Option(min=0.01, metavar="NUMBER", help="Texts a second. [default: any number]")
    ] = None,
    until_ready: Annotated[
        bool, typer.Option("--until-ready", help="End when nothing is missing. [default: go on until finish]")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Embed all texts by the model of the configuration that is to follow, beside the vectors in use.

    Search goes on with those. What is written or changed meanwhile is embedded by both models. Killed at any point, it
    is called again and goes on; any number may run at a time, and each text is embedded by one of them. When nothing is
    missing it says so: from then on gateways, and after them workers, are restarted with that configuration.

    It counts in `memostream usage`, and against no budget.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.console import note
    from cli.reembedding import Limits
    from cli.reembedding import plan as make_plan
    from cli.reembedding_run import embed_until
    from cli.reembedding_view import print_plan
    from cli.running import run_until_stopped
    from streams.logs import configure_logging

    settings = settings_of(Place(config, data_dir, verbose))
    made = asyncio.run(make_plan(settings))
    if not execute:
        print_plan(made, settings.prices.currency, as_json=json)
        return
    configure_logging(settings.worker.model_copy(update={"log_level": "warning"}))
    note(f"{made.total.missing:,} texts to embed by {made.target}")
    limits = Limits(concurrency, rate, until_ready)
    raise typer.Exit(run_until_stopped(lambda stop: embed_until(settings, limits, stop, as_json=json)))


def status(
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Say which model's vectors are in use, which are to follow, and how many texts those are missing."""
    import asyncio

    from cli.addresses import settings_of
    from cli.reembedding import read_status
    from cli.reembedding_view import print_status

    print_status(asyncio.run(read_status(settings_of(Place(config, data_dir, verbose)))), as_json=json)


def finish(
    execute: ExecuteOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Drop the vectors of the model from before, in one short transaction, when everything runs with the next one.

    Refused while texts are missing, or while a worker still embeds by the model from before. A gateway that does so
    finds by words only from then on, and says so.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.reembedding import finish as end
    from cli.reembedding_view import print_ended

    model = asyncio.run(end(settings_of(Place(config, data_dir, verbose)), execute=execute))
    print_ended(model, done="in use:", would="would be in use:", executed=execute, as_json=json)


def abandon(
    execute: ExecuteOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Take the vectors of the model that was to follow away again; the tables are as they were before.

    Refused while a worker embeds by that model. What runs ends by itself.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.reembedding import give_up
    from cli.reembedding_view import print_ended

    model = asyncio.run(give_up(settings_of(Place(config, data_dir, verbose)), execute=execute))
    print_ended(model, done="abandoned:", would="would be abandoned:", executed=execute, as_json=json)
