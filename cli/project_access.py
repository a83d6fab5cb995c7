"""Who may use a project over HTTP: tokens made, listed and revoked, for a person or a script."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.console import note, out, plain_table, print_json, printable, short_time
from cli.projects import check_project_id, connected
from schemas.errors import ConfigurationError, NotFound
from schemas.settings import Settings
from storage.project_tokens import (
    ProjectRow,
    TokenRow,
    add_token,
    id_of,
    new_token,
    read_projects,
    resume_project,
    revoke_tokens,
    suspend_project,
)

MAX_LABEL_CHARACTERS = 100


async def create_token(settings: Settings, project_id: str, label: str | None, *, as_json: bool) -> None:
    """Print a new token of a project, which need not exist yet, alone on standard output."""
    check_project_id(project_id)
    if label is not None and (len(label) > MAX_LABEL_CHARACTERS or not label.isprintable()):
        raise ConfigurationError(f"--label must be printable and at most {MAX_LABEL_CHARACTERS} characters long")
    token = new_token(project_id)
    async with connected(settings.storage, "creating a token") as connection:
        row = await add_token(connection, project_id, token, label, datetime.now(UTC))
        (project,) = await read_projects(connection, project_id)
    if as_json:
        print_json({"project_id": project_id, "token": token, **_token_document(row)})
        return
    out().print(token)
    others = sum(1 for other in project.tokens if other.revoked_at is None) - 1
    beside = f", beside {others} other{'s' if others > 1 else ''}" if others else ""
    note(f"{project_id}: token {row.token_id}{beside}. It is shown this once; only its hash is stored.")
    if project.is_suspended:
        note(f"{project_id} is suspended: `memostream project resume` lets its tokens in", style="bold yellow")


async def list_projects(settings: Settings, *, as_json: bool) -> None:
    """Print every known project with its tokens."""
    async with connected(settings.storage, "listing projects") as connection:
        found = await read_projects(connection)
    if as_json:
        for project in found:
            print_json(_project_document(project))
        return
    if not found:
        note("no project yet: `memostream project create` makes one")
        return
    table = plain_table("project", "token", "label", "created", "")
    for project in found:
        name = Text(printable(project.project_id), "cyan", overflow="fold")
        remark = Text("suspended", "bold yellow") if project.is_suspended else Text("")
        if not project.tokens:
            table.add_row(name, Text("none", "dim"), "", "", remark)
        for number, token in enumerate(project.tokens):
            state = remark if token.revoked_at is None else Text(f"revoked {short_time(token.revoked_at)}", "dim")
            table.add_row(
                name if number == 0 else Text(""),
                Text(token.token_id, no_wrap=True),
                Text(printable(token.label or ""), overflow="fold"),
                Text(short_time(token.created_at), "dim", no_wrap=True),
                state,
            )
    out().print(table)


async def revoke(settings: Settings, project_id: str, named: Sequence[str], *, every: bool, as_json: bool) -> None:
    """Close tokens for ever: those named by their ids or written out, or all; raises NotFound for one unknown."""
    check_project_id(project_id)
    if every is bool(named):
        raise ConfigurationError("name the tokens to revoke, or say --all")
    wanted = [id_of(name) if name.startswith("sk-") else name for name in named]
    async with connected(settings.storage, "revoking tokens") as connection:
        project = await _known(connection, project_id)
        unknown = set(wanted) - {token.token_id for token in project.tokens}
        if unknown:
            # One that was written out is not repeated: its id tells as much.
            raise NotFound(f"project {project_id} has no token {', '.join(sorted(unknown))}; nothing was revoked")
        revoked = await revoke_tokens(connection, project_id, None if every else wanted, datetime.now(UTC))
    if as_json:
        print_json({"project_id": project_id, "revoked": revoked})
        return
    done = f"revoked {', '.join(revoked)}; gateways refuse within seconds" if revoked else "nothing to revoke any more"
    out().print(f"{project_id}: {done}")


async def set_suspended(settings: Settings, project_id: str, *, suspended: bool, as_json: bool) -> None:
    """Close or open a project to all its tokens; raises NotFound for one unknown."""
    check_project_id(project_id)
    async with connected(settings.storage, "suspending a project") as connection:
        await _known(connection, project_id)
        change = suspend_project if suspended else resume_project
        await change(connection, project_id, datetime.now(UTC))
    if as_json:
        print_json({"project_id": project_id, "suspended": suspended})
        return
    told = "suspended; gateways refuse its tokens within seconds" if suspended else "resumed"
    out().print(f"{project_id}: {told}")


async def _known(connection: AsyncConnection, project_id: str) -> ProjectRow:
    found = await read_projects(connection, project_id)
    if not found:
        raise NotFound(f"there is no project {project_id}; `memostream project list` shows those that there are")
    return found[0]


def _project_document(project: ProjectRow) -> dict[str, Any]:
    return {
        "project_id": project.project_id,
        "suspended": project.is_suspended,
        "has_config": project.has_config,
        "tokens": [_token_document(token) for token in project.tokens],
    }


def _token_document(token: TokenRow) -> dict[str, Any]:
    return {
        "token_id": token.token_id,
        "label": token.label,
        "created_at": token.created_at,
        "revoked_at": token.revoked_at,
    }
