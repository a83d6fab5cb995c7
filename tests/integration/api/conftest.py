"""An engine on a fresh migrated database for tests of routes alone, and a running system for those of the whole."""

from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.settings import StorageSettings
from storage.database import create_engine
from tests.support.running_gateway import RunningSystem, running_system


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(StorageSettings(database_url=SecretStr(database_url)))
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
def system(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_bootstrap: str,
    postgres_admin_url: str,
    template_database: str,
    program: Sequence[str],
) -> Iterator[RunningSystem]:
    """A worker and a gateway, shared by all tests here: they keep apart by users and projects."""
    folder = tmp_path_factory.mktemp("system")
    with running_system(folder, kafka_bootstrap, postgres_admin_url, template_database, program) as system:
        yield system
