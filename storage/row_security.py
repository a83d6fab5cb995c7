"""Row-level security: a role that sees one project's rows at a time, whatever a query forgets to ask for."""

from typing import Final

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.errors import ConfigurationError
from storage.columns import metadata
from storage.errors import sqlstate, translated
from storage.tables import project_tokens

# Both stand in the policies, too, which migrations write.
ROLE: Final = "memostream_api"
PROJECT_SETTING: Final = "memostream.project_id"

READABLE: Final = ("schema_info",)
# Its rows name nobody: who does not know project and user cannot tell whose they are.
WRITABLE: Final = ("forgotten_users",)
# Any number of our own: grants to one role collide.
_ADVISORY_LOCK: Final = 0x6D656D70
_INSUFFICIENT_PRIVILEGE: Final = "42501"
# Of `set_config` for a role that does not exist.
_INVALID_PARAMETER: Final = "22023"

_SETTING: Final = "api.row_level_security"
_ADVICE: Final = "let a superuser run the statements of docs/how-to/projects.md, or set it to false"
_UNGUARDED: Final = "SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE NOT row_security_active(name)"
_LACKING: Final = """
    SELECT name FROM unnest(CAST(:names AS text[])) AS name
    WHERE NOT (has_table_privilege(name, 'SELECT') AND has_table_privilege(name, 'INSERT')
        AND has_table_privilege(name, 'UPDATE') AND has_table_privilege(name, 'DELETE'))
"""


def tables_of_projects() -> list[str]:
    """Those that the role may use; tokens are no business of anybody who was let in."""
    return sorted(
        table.name for table in metadata.tables.values() if "project_id" in table.c and table is not project_tokens
    )


def statements() -> list[str]:
    """What gives the role all that it needs, and its use to the current user; harmless if done before."""
    return [
        f"DO $$ BEGIN IF to_regrole('{ROLE}') IS NULL THEN CREATE ROLE {ROLE} NOLOGIN; END IF; "
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join((*tables_of_projects(), *WRITABLE))} TO {ROLE}",
        f"GRANT SELECT ON {', '.join(READABLE)} TO {ROLE}",
        f"GRANT {ROLE} TO CURRENT_USER",
    ]


async def prepare_role(engine: AsyncEngine) -> None:
    """Make the role where the current user may, and see that it can be taken and is bound to a project.

    Raises ConfigurationError with what a person must run, and RetryLater when Postgres is away.
    """
    names = tables_of_projects()
    with translated("preparing row-level security"):
        try:
            async with engine.begin() as connection:
                await connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
                for statement in statements():
                    await connection.execute(text(statement))
        except DBAPIError as error:
            # Then somebody else may have done it.
            if sqlstate(error) != _INSUFFICIENT_PRIVILEGE:
                raise
        try:
            async with engine.begin() as connection:
                await bind(connection, "")
                open_tables = list((await connection.execute(text(_UNGUARDED), {"names": names})).scalars())
                lacking = list((await connection.execute(text(_LACKING), {"names": names})).scalars())
        except DBAPIError as error:
            if sqlstate(error) not in (_INSUFFICIENT_PRIVILEGE, _INVALID_PARAMETER):
                raise
            raise ConfigurationError(
                f"{_SETTING}: the database user may not take the role {ROLE}; {_ADVICE}"
            ) from error
    if open_tables:
        raise ConfigurationError(
            f"{_SETTING}: it does not bind the role {ROLE} in {', '.join(open_tables)}; the role must be no superuser, "
            "own no table, and not have BYPASSRLS"
        )
    if lacking:
        raise ConfigurationError(f"{_SETTING}: the role {ROLE} lacks privileges on {', '.join(lacking)}; {_ADVICE}")


async def bind(connection: AsyncConnection, project_id: str) -> None:
    """Until the transaction ends, let the connection see and write rows of this project only."""
    await connection.execute(select(_set("role", ROLE), _set(PROJECT_SETTING, project_id)))


def _set(name: str, value: str) -> ColumnElement[str]:
    return func.set_config(name, value, True)
