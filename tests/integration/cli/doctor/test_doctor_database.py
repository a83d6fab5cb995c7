"""`memostream doctor` names each fault of the database that is planted, and its fix."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from cli.doctor.registry import diagnose
from schemas.settings import Settings, load_settings
from tests.conftest import execute, plain_dsn, with_database
from tests.support.command_line import CommandLine
from tests.support.diagnosis import faults, only_fault

URL = "MEMOSTREAM_STORAGE__DATABASE_URL"
PASSWORD = "open sesame"


def with_url(shell: CommandLine, url: str) -> CommandLine:
    return shell.with_variables(**{URL: url})


def as_user(url: str, user: str, password: str) -> str:
    return make_url(url).set(username=user, password=password).render_as_string(hide_password=False)


async def lets_in(url: str) -> bool:
    try:
        await (await asyncpg.connect(dsn=plain_dsn(url))).close()
    except asyncpg.InvalidPasswordError:
        return False
    return True


@pytest.fixture
async def role(postgres_admin_url: str) -> AsyncIterator[str]:
    """A user of the server without any right, who needs a password wherever passwords are asked for."""
    name = f"role_{uuid.uuid4().hex[:12]}"
    await execute(postgres_admin_url, f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield name
    await execute(postgres_admin_url, f"DROP ROLE {name}")


@pytest.fixture
async def empty_database(postgres_admin_url: str) -> AsyncIterator[str]:
    """The URL of a database with nothing in it."""
    name = f"empty_{uuid.uuid4().hex[:12]}"
    await execute(postgres_admin_url, f'CREATE DATABASE "{name}" TEMPLATE template0')
    yield with_database(postgres_admin_url, name)
    await execute(postgres_admin_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def guarded_role(postgres_admin_url: str, role: str) -> AsyncIterator[str]:
    """The same user, for whom the server asks for a password even where it trusts everybody else."""
    connection = await asyncpg.connect(dsn=plain_dsn(postgres_admin_url))
    path = await connection.fetchval("SELECT current_setting('hba_file')")
    written = (await connection.fetchval("SELECT pg_read_file($1)", path)).splitlines()
    # COPY, which is all that writes files here, would put quotes around an empty line.
    lines = [line for line in written if line.strip()]

    async def write(wanted: list[str]) -> None:
        rows = ", ".join("('{}')".format(line.replace("'", "''")) for line in wanted)
        plain = "FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02'"
        await connection.execute(f"COPY (VALUES {rows}) TO '{path}' WITH ({plain})")
        await connection.execute("SELECT pg_reload_conf()")

    await write([f"local all {role} scram-sha-256", f"host all {role} all scram-sha-256", *lines])
    # The server reads its rules again in its own time.
    while await lets_in(as_user(postgres_admin_url, role, "a wrong one")):
        await asyncio.sleep(0.1)
    yield role
    await write(lines)
    await connection.close()


async def test_a_database_that_is_not_there(installed: CommandLine) -> None:
    nowhere = with_url(installed, f"postgresql+asyncpg://memo:{PASSWORD.replace(' ', '+')}@127.0.0.1:1/memory")
    fault = await only_fault(nowhere)
    assert fault.found == "database memory at 127.0.0.1:1 cannot be reached (ConnectionRefusedError)"
    assert fault.fix.startswith("start Postgres, or correct host and port in storage.database_url")


async def test_a_database_that_nobody_made(installed: CommandLine, postgres_admin_url: str) -> None:
    fault = await only_fault(with_url(installed, with_database(postgres_admin_url, "nobody_made_it")))
    assert "it has no such database" in fault.found
    assert "CREATE DATABASE" in fault.fix


async def test_a_password_that_is_wrong_is_not_shown(
    installed: CommandLine, database_url: str, guarded_role: str
) -> None:
    fault = await only_fault(with_url(installed, as_user(database_url, guarded_role, "a wrong one")))
    assert "it refuses the password" in fault.found
    assert fault.fix == "correct the password in storage.database_url"
    assert "a wrong one" not in str(fault)


async def test_a_user_that_the_server_does_not_let_in(
    installed: CommandLine, database_url: str, postgres_admin_url: str, role: str
) -> None:
    await execute(postgres_admin_url, f"ALTER ROLE {role} NOLOGIN")
    fault = await only_fault(with_url(installed, as_user(database_url, role, PASSWORD)))
    assert "it does not let this user in" in fault.found
    assert "LOGIN, pg_hba.conf" in fault.fix


async def test_pgvector_that_is_missing_and_may_not_be_created(
    installed: CommandLine, empty_database: str, role: str
) -> None:
    fault = await only_fault(with_url(installed, as_user(empty_database, role, PASSWORD)))
    assert fault.check == "extension"
    assert fault.fix == "as a superuser, run CREATE EXTENSION vector in this database"


async def test_tables_that_are_missing_and_may_not_be_created(
    installed: CommandLine, empty_database: str, role: str
) -> None:
    await execute(empty_database, "CREATE EXTENSION vector")
    fault = await only_fault(with_url(installed, as_user(empty_database, role, PASSWORD)))
    assert fault.check == "migrations"
    assert fault.fix.startswith("GRANT CREATE ON SCHEMA public")


async def test_tables_that_are_not_there_yet_are_a_warning(installed: CommandLine, empty_database: str) -> None:
    await execute(empty_database, "CREATE EXTENSION vector")
    fault = await only_fault(with_url(installed, empty_database), level="warning")
    assert (fault.check, fault.found) == ("migrations", "there are no tables yet")
    assert "memostream migrate" in fault.fix


async def test_tables_of_a_newer_memostream(installed: CommandLine, database_url: str) -> None:
    await execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    fault = await only_fault(installed)
    assert fault.found == "the database was migrated by a newer memostream (revision 9999)"
    assert "upgrade this memostream" in fault.fix


async def test_embeddings_of_another_dimension(installed: CommandLine) -> None:
    fault = await only_fault(installed.with_variables(MEMOSTREAM_EMBEDDING__DIMENSION="128"))
    assert fault.found == "the database holds embeddings of 256 dimensions, embedding.dimension is 128"
    assert (
        fault.fix == "set embedding.dimension to 256, choose another database, or make others by `memostream reembed`"
    )


async def test_embeddings_of_another_model(installed: CommandLine, database_url: str) -> None:
    await execute(database_url, "UPDATE schema_info SET embedding_model = 'their-model'")
    fault = await only_fault(installed)
    assert "the database holds embeddings of their-model" in fault.found
    assert (
        fault.fix
        == "choose another database, make others by `memostream reembed`, or set embedding.model to their-model"
    )


async def test_users_who_wait_for_an_endpoint(installed: CommandLine, database_url: str) -> None:
    for number in range(3):
        await execute(
            database_url,
            'INSERT INTO held_windows (ledger_id, project_id, user_id, topic, partition, "offset", timestamp_ms, '
            f"payload, reason, held_at, due_at) VALUES (gen_random_uuid(), 'default', 'u{number % 2}', 't', 0, "
            f"{number}, 0, '{{}}', 'the endpoint is busy or down (status 503)', now() - interval '5 minutes', now())",
        )
    fault = await only_fault(installed, level="warning")
    assert fault.found == (
        "3 windows of 2 users wait, the first for 5 minutes, most of them because: "
        "the endpoint is busy or down (status 503)"
    )


async def test_an_outbox_that_nobody_empties(installed: CommandLine, database_url: str) -> None:
    await execute(
        database_url,
        "INSERT INTO outbox (id, aggregatetype, aggregateid, type, seq, slot, project_id, user_id, headers, "
        "created_at) VALUES (gen_random_uuid(), 'profiles', 'default/ann', 't', 1, 0, 'default', 'ann', '{}', "
        "now() - interval '3 hours')",
    )
    fault = await only_fault(installed, level="warning")
    assert fault.found == "1 change waits to be published, the oldest for 3 hours, and no relay runs"
    assert "with the role relay" in fault.fix


@pytest.mark.parametrize(("minutes", "said"), [(3, "180 s behind"), (-60, "3,600 s ahead of")])
async def test_a_clock_that_differs_from_that_of_postgres(installed: CommandLine, minutes: int, said: str) -> None:
    def load() -> Settings:
        return load_settings(environ=installed.environment, env_file=installed.folder / ".env")

    found = diagnose(load, timeout_s=30.0, ask_models=False, now=lambda: datetime.now(UTC) + timedelta(minutes=minutes))
    (finding,) = [finding async for result in found if result.check == "database-clock" for finding in result.findings]
    assert finding.level == "warning"
    assert finding.found == f"Postgres' clock is {said} this machine's"
    assert finding.fix == "set both by NTP"


async def test_a_project_whose_configuration_no_longer_holds_is_named(shell: CommandLine, database_url: str) -> None:
    # As a version that took it might have left it.
    await execute(
        database_url,
        "INSERT INTO projects (project_id, profile_config, updated_at) VALUES ('shop', 'event_tags: 3', now())",
    )
    (fault,) = (fault for fault in await faults(shell) if fault.check == "projects")
    assert fault.level == "warning"
    assert "event_tags: must be a list (line 1)" in fault.found
    assert "memostream project config set shop" in fault.fix
