"""A database that is not ours, or not of this version, is refused by whatever would write to it or from it."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from storage.migrate import known_revisions
from tests.conftest import plain_dsn
from tests.support.command_line import CommandLine

SHADOW = ("--into", "shadow", "--shadow", "b", "--to-earliest")
COMMANDS: Sequence[Sequence[str]] = (
    ("replay", "plan", "--to-earliest"),
    ("replay", "plan", *SHADOW),
    ("replay", "run", *SHADOW, "--execute"),
    ("replay", "status"),
    ("replay", "diff", "b"),
    ("replay", "promote", "b", "--execute"),
    ("replay", "discard", "b", "--execute"),
    ("dead-letters", "list"),
    ("dead-letters", "drop", "--user", "ann", "--execute"),
    ("raise-revisions",),
    ("forget", "ann", "--force", "--execute"),
    ("publish-snapshot",),
    ("export", "ann"),
    ("project", "config", "set", "default", "policy.yaml"),
    ("project", "suspend", "default"),
)


async def set_revision(shell: CommandLine, revision: str | None) -> None:
    connection = await asyncpg.connect(plain_dsn(shell.database_url))
    try:
        await connection.execute("DELETE FROM alembic_version")
        if revision is not None:
            await connection.execute("INSERT INTO alembic_version VALUES ($1)", revision)
    finally:
        await connection.close()


async def revisions(shell: CommandLine) -> list[str]:
    connection = await asyncpg.connect(plain_dsn(shell.database_url))
    try:
        return [number for (number,) in await connection.fetch("SELECT version_num FROM alembic_version")]
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        (None, "has no tables of memostream: run `memostream migrate`, or check storage.database_url"),
        ("7f3a", "is not of this memostream (revision 7f3a): upgrade this one, or check storage.database_url"),
        (known_revisions()[1], "is older than this memostream: run `memostream migrate`"),
    ],
)
def test_every_command_that_writes_refuses_a_database_of_another_kind(
    shell: CommandLine, revision: str | None, words: str
) -> None:
    asyncio.run(set_revision(shell, revision))
    (shell.folder / "policy.yaml").write_text("language: en\n")
    for command in COMMANDS:
        refused = shell.call(*command, fails=True)
        assert (refused.exit_code, words in refused.stderr) == (2, True), (command, refused)
    # Nor is it migrated on the way.
    assert asyncio.run(revisions(shell)) == ([] if revision is None else [revision])
