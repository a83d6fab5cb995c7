"""`memostream raise-revisions`: a step of restoring Postgres from a backup."""

import typer

from cli.commands.options import DEFAULT_DATA_DIR, ConfigOption, DataDirOption, JsonOption, Place, VerboseOption


def register(app: typer.Typer) -> None:
    app.command("raise-revisions")(raise_revisions)


def raise_revisions(
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Let revisions go on above those that are published, after Postgres was restored from a backup.

    A user's revision only grows, and who follows the changes may rely on it; a backup has older ones. Run it before a
    worker or a gateway is started on the restored database, and `memostream replay` afterwards.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.console import out, print_json
    from cli.revisions import raise_above_published

    settings = settings_of(Place(config, data_dir, verbose))
    found = asyncio.run(raise_above_published(settings))
    if json:
        print_json({"published": found.published, "raised": found.raised})
    else:
        out().print(f"raised: {found.raised:,} of {found.published:,} users on profiles")
