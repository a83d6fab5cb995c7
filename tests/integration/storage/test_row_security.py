"""The gateway's role sees one project at a time, in every table that has projects, whatever a query asks for."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import Executable, delete, func, insert, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.errors import ConfigurationError
from schemas.settings import StorageSettings
from storage.columns import metadata
from storage.database import create_engine
from storage.errors import sqlstate
from storage.partitions import ensure_unit_partitions
from storage.row_security import ROLE, bind, prepare_role, tables_of_projects
from storage.tables import events, profiles, project_tokens, projects, units, users
from tests.conftest import execute

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
REFUSED = "42501"


def user_of(project_id: str) -> dict[str, object]:
    return {"project_id": project_id, "user_id": "ann", "created_at": NOW, "updated_at": NOW}


def unit_of(project_id: str) -> dict[str, object]:
    keys = {"message_index": -1, "part": -1, "state": "applied", "recorded_at": NOW}
    return {"project_id": project_id, "user_id": "ann", "blob_id": "b1", **keys}


@pytest.fixture
async def guarded(engine: AsyncEngine) -> AsyncEngine:
    """Two projects with a user and a unit of the same ids, and the role made."""
    await prepare_role(engine)
    async with engine.begin() as connection:
        await ensure_unit_partitions(connection, NOW)
        for project_id in ("shop", "blog"):
            await connection.execute(insert(users).values(user_of(project_id)))
            await connection.execute(insert(units).values(unit_of(project_id)))
            await connection.execute(insert(projects).values(project_id=project_id, updated_at=NOW))
    return engine


@pytest.mark.parametrize("table", ["users", "units", "projects"])
async def test_a_query_that_forgets_the_project_sees_its_own_rows_only(guarded: AsyncEngine, table: str) -> None:
    found = metadata.tables[table]
    async with guarded.begin() as connection:
        await bind(connection, "shop")
        assert list((await connection.execute(select(found.c.project_id))).scalars()) == ["shop"]


async def test_what_is_written_for_another_project_is_refused_or_meets_nothing(guarded: AsyncEngine) -> None:
    async with guarded.begin() as connection:
        await bind(connection, "shop")
        moved = await connection.execute(update(users).where(users.c.project_id == "blog").values(revision=7))
        gone = await connection.execute(delete(users).where(users.c.project_id == "blog"))
        assert (moved.rowcount, gone.rowcount) == (0, 0)
    for statement in (
        insert(users).values({**user_of("blog"), "user_id": "eve"}),
        update(users).values(project_id="blog"),
        insert(units).values(unit_of("blog")),
    ):
        assert await refusal(guarded, statement) == REFUSED
    async with guarded.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(users)) == 2


async def test_the_role_forgets_the_project_with_its_transaction(guarded: AsyncEngine) -> None:
    async with guarded.connect() as connection:
        async with connection.begin():
            await bind(connection, "shop")
        async with connection.begin():
            assert await connection.scalar(text("SELECT current_user")) != ROLE
            assert await connection.scalar(select(func.count()).select_from(users)) == 2
        async with connection.begin():
            await connection.execute(text(f"SET LOCAL ROLE {ROLE}"))
            assert await connection.scalar(select(func.count()).select_from(users)) == 0


async def test_nobody_who_was_let_in_sees_tokens(guarded: AsyncEngine) -> None:
    assert await refusal(guarded, select(project_tokens)) == REFUSED


async def test_every_table_with_projects_has_the_rule(engine: AsyncEngine) -> None:
    rule = text(
        "SELECT c.relname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid "
        "WHERE c.relrowsecurity AND p.polname = 'of_project'"
    )
    with_projects = text(
        "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "WHERE a.attname = 'project_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
    )
    async with engine.connect() as connection:
        guarded = set((await connection.execute(rule)).scalars())
        assert guarded == set((await connection.execute(with_projects)).scalars())
    assert guarded == {*tables_of_projects(), "project_tokens"}


async def test_gateways_that_start_at_once_all_prepare_the_role(engine: AsyncEngine) -> None:
    await asyncio.gather(*(prepare_role(engine) for _ in range(4)))


async def test_counts_are_kept_for_the_role_too(guarded: AsyncEngine) -> None:
    async with guarded.begin() as connection:
        await bind(connection, "shop")
        await add_entries(connection, 3)
        await connection.execute(delete(profiles).where(profiles.c.sub_topic == "s0"))
    async with guarded.connect() as connection:
        counts = await connection.execute(select(users.c.project_id, users.c.profile_count, users.c.event_count))
        assert sorted(tuple(row) for row in counts) == [("blog", 0, 0), ("shop", 2, 1)]


@pytest.fixture
async def login(postgres_admin_url: str, engine: AsyncEngine, database_url: str) -> AsyncIterator[AsyncEngine]:
    """A gateway whose database user owns nothing and may grant nothing."""
    name = f"login_{uuid.uuid4().hex[:8]}"
    await execute(postgres_admin_url, f"CREATE ROLE {name} LOGIN PASSWORD 'pass'")
    url = make_url(database_url).set(username=name, password="pass").render_as_string(hide_password=False)
    theirs = create_engine(StorageSettings(database_url=SecretStr(url)))
    yield theirs
    await theirs.dispose()
    await execute(database_url, f"DROP OWNED BY {name}")
    await execute(postgres_admin_url, f"DROP ROLE {name}")


async def test_a_user_without_privileges_is_told_what_is_missing_and_served_once_it_is_granted(
    login: AsyncEngine, engine: AsyncEngine
) -> None:
    await prepare_role(engine)
    with pytest.raises(ConfigurationError, match=f"may not take the role {ROLE}"):
        await prepare_role(login)
    async with engine.begin() as connection:
        await connection.execute(text(f"GRANT {ROLE} TO {login.url.username}"))
    await prepare_role(login)
    async with engine.begin() as connection:
        await connection.execute(text(f"REVOKE INSERT ON profiles FROM {ROLE}"))
    with pytest.raises(ConfigurationError, match=f"the role {ROLE} lacks privileges on profiles"):
        await prepare_role(login)


async def refusal(engine: AsyncEngine, statement: Executable) -> str | None:
    """The state of the error that a statement for the project `shop` ends with."""
    try:
        async with engine.begin() as connection:
            await bind(connection, "shop")
            await connection.execute(statement)
    except DBAPIError as error:
        return sqlstate(error)
    return None


async def add_entries(connection: AsyncConnection, number: int) -> None:
    times = {"occurred_at": NOW, "recorded_at": NOW}
    owner = {"project_id": "shop", "user_id": "ann", **times}
    for place in range(number):
        entry = {"profile_id": uuid.uuid4(), "topic": "t", "sub_topic": f"s{place}", "content": "c"}
        await connection.execute(insert(profiles).values(**owner, **entry, created_at=NOW, updated_at=NOW))
    event = {"event_id": uuid.uuid4(), "tags": [], "profile_delta": [], "revision": 1}
    await connection.execute(insert(events).values(**owner, **event))
