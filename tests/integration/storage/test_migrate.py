"""Migrations on a real database."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from schemas.errors import ConfigurationError, RetryLater
from storage.columns import metadata
from storage.migrate import migrate
from storage.partitions import ensure_unit_partitions
from storage.tables import schema_info, units
from tests.integration.storage.builders import rows_of


@pytest.fixture
async def empty_url(postgres_admin_url: str) -> AsyncIterator[str]:
    name = f"empty_{uuid.uuid4().hex[:12]}"
    await _execute(postgres_admin_url, f'CREATE DATABASE "{name}"')
    yield make_url(postgres_admin_url).set(database=name).render_as_string(hide_password=False)
    await _execute(postgres_admin_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def empty_engine(empty_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(empty_url)
    yield engine
    await engine.dispose()


async def test_an_empty_database_gets_the_schema_that_the_tables_describe(
    empty_url: str, empty_engine: AsyncEngine
) -> None:
    await migrate(empty_url, embedding_dimension=8)

    async with empty_engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
        vectors = text("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'embedding'")
        assert set((await connection.execute(vectors)).scalars()) == {"halfvec(8)"}


async def test_every_constraint_and_index_has_the_name_that_the_convention_gives(
    empty_url: str, empty_engine: AsyncEngine
) -> None:
    await migrate(empty_url, embedding_dimension=8)

    query = text(
        "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' "
        "UNION ALL SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'units_default'"
    )
    async with empty_engine.connect() as connection:
        names = set((await connection.execute(query)).scalars()) - {"alembic_version_pkc"}
    assert {name.split("_")[0] for name in names} == {"pk", "uq", "ix", "fk", "ck"}


async def test_a_second_migration_changes_nothing(empty_url: str, empty_engine: AsyncEngine) -> None:
    await migrate(empty_url, embedding_dimension=8, embedding_model="small")
    before = await rows_of(empty_engine, schema_info)
    await migrate(empty_url, embedding_dimension=8, embedding_model="small")
    assert await rows_of(empty_engine, schema_info) == before


async def test_concurrent_migrations_all_succeed(empty_url: str, empty_engine: AsyncEngine) -> None:
    await asyncio.gather(*(migrate(empty_url, embedding_dimension=8) for _ in range(4)))
    assert await rows_of(empty_engine, schema_info, "embedding_dimension") == [(8,)]


async def test_another_dimension_is_refused_with_both_numbers(empty_url: str) -> None:
    await migrate(empty_url, embedding_dimension=8)
    with pytest.raises(ConfigurationError, match=r"8 dimensions.*is 9"):
        await migrate(empty_url, embedding_dimension=9)


async def test_another_embedding_model_is_refused_once_one_is_known(empty_url: str) -> None:
    await migrate(empty_url, embedding_dimension=8)
    await migrate(empty_url, embedding_dimension=8, embedding_model="small")
    await migrate(empty_url, embedding_dimension=8)
    with pytest.raises(ConfigurationError, match=r"of small, embedding\.model is large"):
        await migrate(empty_url, embedding_dimension=8, embedding_model="large")


async def test_a_database_of_a_newer_program_is_refused(empty_url: str) -> None:
    await migrate(empty_url, embedding_dimension=8)
    await _execute(empty_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="newer memostream"):
        await migrate(empty_url, embedding_dimension=8)


async def test_a_database_of_another_encoding_is_refused(postgres_admin_url: str) -> None:
    name = f"latin_{uuid.uuid4().hex[:12]}"
    made = f"CREATE DATABASE \"{name}\" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    await _execute(postgres_admin_url, made)
    try:
        url = make_url(postgres_admin_url).set(database=name).render_as_string(hide_password=False)
        with pytest.raises(ConfigurationError, match=r"encoding is LATIN1, it must be UTF8"):
            await migrate(url, embedding_dimension=8)
    finally:
        await _execute(postgres_admin_url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def test_an_unreachable_database_may_come_back_and_its_address_is_not_told() -> None:
    url = "postgresql+asyncpg://someone:hidden@127.0.0.1:1/nowhere"
    with pytest.raises(RetryLater) as caught:
        await migrate(url, embedding_dimension=8)
    assert not any(part in str(caught.value) for part in ("someone", "hidden", "127.0.0.1", "nowhere"))


async def test_units_go_to_their_month_and_others_to_the_default_partition(
    empty_url: str, empty_engine: AsyncEngine
) -> None:
    await migrate(empty_url, embedding_dimension=8)
    now = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)
    for _ in range(2):
        async with empty_engine.begin() as connection:
            await ensure_unit_partitions(connection, now)
    async with empty_engine.begin() as connection:
        for moment in (now, now + timedelta(hours=2), now + timedelta(days=40)):
            await connection.execute(units.insert().values(**_unit_values(moment)))
        found = await connection.execute(
            select(text("tableoid::regclass::text")).select_from(units).order_by(units.c.recorded_at)
        )
        assert list(found.scalars()) == ["units_2026_12", "units_2027_01", "units_default"]


async def test_a_month_whose_rows_are_in_the_default_partition_stays_there(
    empty_url: str, empty_engine: AsyncEngine
) -> None:
    await migrate(empty_url, embedding_dimension=8)
    now = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)
    async with empty_engine.begin() as connection:
        await connection.execute(units.insert().values(**_unit_values(now)))
        await ensure_unit_partitions(connection, now)
        query = text("SELECT to_regclass('units_2026_12'), to_regclass('units_2027_01') IS NOT NULL")
        assert (await connection.execute(query)).one() == (None, True)


async def test_a_row_that_comes_while_its_partition_is_made_is_no_error(
    empty_url: str, empty_engine: AsyncEngine
) -> None:
    await migrate(empty_url, embedding_dimension=8)
    now = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)

    async def make() -> None:
        async with empty_engine.begin() as connection:
            await ensure_unit_partitions(connection, now)

    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%units_default%'"
    )
    async with empty_engine.connect() as writer, empty_engine.connect() as observer:
        await writer.execute(units.insert().values(**_unit_values(now)))
        making = asyncio.create_task(make())
        while not await observer.scalar(waits):
            await observer.rollback()
            await asyncio.sleep(0.01)
        await writer.commit()
        await making


def _unit_values(moment: datetime) -> dict[str, Any]:
    return {
        "project_id": "default",
        "user_id": "ann",
        "blob_id": "b1",
        "message_index": -1,
        "part": -1,
        "state": "applied",
        "recorded_at": moment,
    }


def _differences(connection: Connection) -> list[Any]:
    options = {"include_object": lambda thing, name, kind, *_: not str(name).startswith("units_default")}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))


async def _execute(url: str, statement: str) -> None:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn=dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
