"""Projects' configurations: read, checked and written for a person or a script."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.console import note, out, print_json
from cli.databases import open_database
from schemas.errors import ConfigurationError
from schemas.policies import checked_policy, policy_of
from schemas.profile_schema import ProfilePolicy
from schemas.project_config import parse_project_config
from schemas.records import ProjectId
from schemas.settings import Settings, StorageSettings
from storage.errors import translated
from storage.projects import clear_project_config, read_project_config, write_project_config

NOTHING_SET = "no configuration of its own: the server's settings hold"


def read_text(file: str) -> str:
    """Of a file, or of standard input for `-`; raises ConfigurationError."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read ({type(error).__name__})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is no UTF-8 text") from error


async def show_config(settings: Settings, project_id: str, *, as_json: bool) -> None:
    """Print what is stored, byte for byte, or as JSON with the policy that comes of it."""
    check_project_id(project_id)
    async with connected(settings.storage, "reading a project's configuration") as connection:
        stored = await read_project_config(connection, project_id)
    problem = None
    policy = policy_of(settings)
    if stored is not None:
        try:
            policy = checked_policy(settings, parse_project_config(stored.text))
        except ConfigurationError as error:
            problem = str(error)
    if as_json:
        print_json(
            {
                "project_id": project_id,
                "profile_config": None if stored is None else stored.text,
                "updated_at": None if stored is None else stored.updated_at,
                "problem": problem,
                "policy": _document(policy),
            }
        )
        return
    if stored is None:
        note(f"{project_id}: {NOTHING_SET}")
        return
    sys.stdout.write(stored.text if stored.text.endswith("\n") else stored.text + "\n")
    if problem is not None:
        note(f"{project_id}: not followed, the server's settings hold: {problem}", style="bold yellow")


async def store_config(settings: Settings, project_id: str, text: str, *, dry_run: bool, as_json: bool) -> None:
    """Check the text and store it; raises ConfigurationError, with nothing changed, when it does not hold."""
    check_project_id(project_id)
    config = parse_project_config(text)
    policy = checked_policy(settings, config)
    if not dry_run:
        async with connected(settings.storage, "writing a project's configuration") as connection:
            await write_project_config(connection, project_id, text, datetime.now(UTC))
    keys = sorted(config.model_dump(exclude_none=True))
    if as_json:
        document = {"project_id": project_id, "stored": not dry_run, "keys": keys, "policy": _document(policy)}
        print_json(document)
    else:
        done = "is right" if dry_run else "is set; workers follow it within seconds"
        out().print(f"{project_id}: its configuration ({', '.join(keys) or 'no key'}) {done}")
    if config.overwrite_user_profiles is not None and config.additional_user_profiles:
        note("additional_user_profiles: no effect beside overwrite_user_profiles")


async def remove_config(settings: Settings, project_id: str, *, as_json: bool) -> None:
    """Remove it, if there is one."""
    check_project_id(project_id)
    async with connected(settings.storage, "writing a project's configuration") as connection:
        was_there = await clear_project_config(connection, project_id, datetime.now(UTC))
    if as_json:
        print_json({"project_id": project_id, "cleared": was_there})
    else:
        told = "cleared; the server's settings hold again within seconds" if was_there else NOTHING_SET
        out().print(f"{project_id}: {told}")


@asynccontextmanager
async def connected(storage: StorageSettings, what: str) -> AsyncIterator[AsyncConnection]:
    """A transaction; raises RetryLater if Postgres is away while we are `what`."""
    async with open_database(storage) as engine:
        with translated(what):
            async with engine.begin() as connection:
                yield connection


def check_project_id(project_id: str) -> None:
    """Raise ConfigurationError for what no project can be called."""
    try:
        TypeAdapter(ProjectId).validate_python(project_id)
    except ValidationError as error:
        raise ConfigurationError(f"project id: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _document(policy: ProfilePolicy) -> dict[str, Any]:
    """For JSON; what is unset of a slot is left out."""
    document: dict[str, Any] = {field.name: getattr(policy, field.name) for field in fields(policy)}
    for name in ("slots", "event_tags"):
        document[name] = [item.model_dump(exclude_none=True) for item in document[name]]
    return document
