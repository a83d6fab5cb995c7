"""`memostream project create|list|revoke|suspend|resume`: the tokens that open a project over HTTP."""

from typing import Annotated

import typer

from cli.commands.options import (
    DEFAULT_DATA_DIR,
    ConfigOption,
    DataDirOption,
    JsonOption,
    Place,
    ProjectArgument,
    VerboseOption,
)

CREATE_EPILOG = """
**Examples**

- `memostream project create shop`
- `TOKEN=$(memostream project create shop --label website)` — the token alone is on standard output
- `memostream project create shop --json | jq -r .token_id`
"""
LIST_EPILOG = """
**Examples**

- `memostream project list`
- `memostream project list --json | jq -r .project_id`
"""
REVOKE_EPILOG = """
**Examples**

- `memostream project revoke shop 3f9a2c10b7d4` — as `memostream project list` shows it
- `memostream project revoke shop sk-shop-…` — a token that was found where it should not be
- `memostream project revoke shop --all`
"""
SUSPEND_EPILOG = """
**Examples**

- `memostream project suspend shop`
"""
RESUME_EPILOG = """
**Examples**

- `memostream project resume shop`
"""


def register(project: typer.Typer) -> None:
    project.command(epilog=CREATE_EPILOG)(create)
    project.command("list", epilog=LIST_EPILOG)(list_all)
    project.command(epilog=REVOKE_EPILOG)(revoke)
    project.command(epilog=SUSPEND_EPILOG)(suspend)
    project.command(epilog=RESUME_EPILOG)(resume)


def create(
    project: ProjectArgument,
    label: Annotated[str | None, typer.Option("--label", metavar="TEXT", help="What the token is for.")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Make a token that opens a project over HTTP, and the project if there is none of that id.

    A project may have several, so that one can be replaced while both work. The token is printed this once: only its
    hash is stored.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.project_access import create_token

    asyncio.run(create_token(settings_of(Place(config, data_dir, verbose)), project, label, as_json=json))


def list_all(
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Show projects and the ids of their tokens.

    A project is listed that has a token, a configuration of its own, or a user of whom something is remembered.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.project_access import list_projects

    asyncio.run(list_projects(settings_of(Place(config, data_dir, verbose)), as_json=json))


def revoke(
    project: ProjectArgument,
    tokens: Annotated[
        list[str] | None, typer.Argument(metavar="[TOKEN]...", help="Ids of tokens, or tokens written out.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All tokens of the project.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Close tokens of a project for ever. Running gateways refuse them within seconds."""
    import asyncio

    from cli.addresses import settings_of
    from cli.project_access import revoke as revoke_now

    settings = settings_of(Place(config, data_dir, verbose))
    asyncio.run(revoke_now(settings, project, tokens or [], every=every, as_json=json))


def suspend(
    project: ProjectArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Refuse all tokens of a project until it is resumed.

    Nothing else stops: what is on Kafka is extracted, and a root token opens the project as before.
    """
    import asyncio

    from cli.addresses import settings_of
    from cli.project_access import set_suspended

    asyncio.run(set_suspended(settings_of(Place(config, data_dir, verbose)), project, suspended=True, as_json=json))


def resume(
    project: ProjectArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Take the tokens of a suspended project again, but for those that were revoked."""
    import asyncio

    from cli.addresses import settings_of
    from cli.project_access import set_suspended

    asyncio.run(set_suspended(settings_of(Place(config, data_dir, verbose)), project, suspended=False, as_json=json))
