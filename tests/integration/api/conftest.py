"""An engine on a fresh migrated database for tests of routes alone, and a running system for those of the whole."""

from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.settings import StorageSettings
from storage.database import create_engine
from tests.conftest import execute, run_apart, with_database
from tests.support.command_line import CommandLine
from tests.support.running_gateway import Running, running_gateway
from tests.support.running_gateway import RunningSystem, running_system


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url)))
    yield engine
    await engine.dispose()


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory, kafka_bootstrap: str, postgres_admin_url: str, template_database: str
) -> Iterator[RunningSystem]:
    """A worker and a gateway, shared by the tests of a module: they keep apart by users and projects."""
    folder = tmp_path_factory.mktemp("system")
    with running_system(folder, kafka_bootstrap, postgres_admin_url, template_database) as system:
        yield system


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, kafka_bootstrap: str, postgres_admin_url: str, template_database: str
) -> Iterator[Running]:
    """A worker and a gateway, shared by the tests of a module: they keep apart by users and projects."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    run_apart(execute(postgres_admin_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"'))
    shell = CommandLine.of(
        tmp_path_factory.mktemp("shell"),
        kafka=kafka_bootstrap,
        database_url=with_database(postgres_admin_url, name),
        prefix=f"{name}-",
    )
    with running_gateway(shell) as running:
        yield running
    run_apart(execute(postgres_admin_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
def http(running: Running) -> Iterator[httpx.Client]:
    """A client of the shared gateway, as root."""
    with running.client() as client:
        yield client
