"""`memostream project`: who may use a project, and what it keeps in place of the server's settings."""

from typing import Annotated

import typer

from cli.commands import project_access
from cli.commands.options import (
    DEFAULT_DATA_DIR,
    ConfigOption,
    DataDirOption,
    JsonOption,
    Place,
    ProjectArgument,
    VerboseOption,
)

SHOW_EPILOG = """
**Examples**

- `memostream project config show shop`
- `memostream project config show shop > shop.yaml` — the text as it was set
- `memostream project config show shop --json | jq .policy` — what holds for the project, with the server's part
"""
SET_EPILOG = """
**Examples**

- `memostream project config set shop shop.yaml`
- `echo 'profile_strict_mode: true' | memostream project config set shop -`
- `memostream project config set shop shop.yaml --dry-run` — only say what is wrong with it
"""
CLEAR_EPILOG = """
**Examples**

- `memostream project config clear shop`
"""


def register(app: typer.Typer) -> None:
    project = typer.Typer(
        no_args_is_help=True, rich_markup_mode="markdown", help="Projects, their tokens and what is theirs."
    )
    project_access.register(project)
    config = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="markdown",
        help="The project's own slots, tags and rules, in place of the server's. A change is followed within seconds.",
    )
    config.command("show", epilog=SHOW_EPILOG)(show)
    config.command("set", epilog=SET_EPILOG)(set_config)
    config.command("clear", epilog=CLEAR_EPILOG)(clear)
    project.add_typer(config, name="config")
    app.add_typer(project, name="project")


def show(
    project: ProjectArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Print a project's configuration as it was set.

    With `--json` one object: the text, when it was set, why it is not followed if it no longer holds, and the policy
    that holds for the project.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.projects import show_config

    asyncio.run(show_config(settings_of(Place(config, data_dir, verbose)), project, as_json=json))


def set_config(
    project: ProjectArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="YAML file, or - for standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it, and change nothing.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Check a project's configuration and set it, in place of the one that it has.

    Keys: language, profile_strict_mode, profile_validate_mode, additional_user_profiles, overwrite_user_profiles,
    event_theme_requirement, event_tags. What is left out is as the server says. A wrong key is named with its line, and
    nothing is changed then.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.projects import read_text, store_config

    text = read_text(file)
    settings = settings_of(Place(config, data_dir, verbose))
    asyncio.run(store_config(settings, project, text, dry_run=dry_run, as_json=json))


def clear(
    project: ProjectArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Remove a project's configuration: the server's settings hold again."""
    import asyncio

    from cli.addresses import settings_of
    from cli.projects import remove_config

    asyncio.run(remove_config(settings_of(Place(config, data_dir, verbose)), project, as_json=json))
