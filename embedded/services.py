"""Both services of a folder, started side by side and stopped in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from embedded.addresses import EmbeddedAddresses, held, published
from embedded.kafka import EmbeddedKafka
from embedded.postgres import EmbeddedPostgres


@asynccontextmanager
async def embedded_services(
    data_dir: Path,
    *,
    kafka: bool = True,
    postgres: bool = True,
    broker_properties: Mapping[str, str] | None = None,
    postgres_settings: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[EmbeddedAddresses]:
    """Run a broker, and a server with the database `memostream`; both keep their data in the folder.

    Raises ConfigurationError when another process runs the folder's services (it says which one), when a jar
    is not the tested one, and when a service does not start. Both are gone when the block ends, and when this
    process is killed.
    """
    folder = data_dir.absolute()
    with held(folder):
        broker = EmbeddedKafka(folder / "kafka", properties=broker_properties, progress=progress)
        database = EmbeddedPostgres(folder / "postgres", settings=postgres_settings, progress=progress)
        try:
            await _all_or_first_error(
                *([broker.start()] if kafka else []),
                *([_start_with_database(database)] if postgres else []),
            )
            addresses = EmbeddedAddresses(
                bootstrap_servers=broker.bootstrap_servers if kafka else "",
                database_url=database.database_url() if postgres else "",
            )
            with published(folder, addresses):
                yield addresses
        finally:
            await broker.stop()
            await database.stop()


async def _start_with_database(database: EmbeddedPostgres) -> None:
    await database.start()
    await database.create_database()


async def _all_or_first_error(*starts: Coroutine[None, None, None]) -> None:
    """Wait for all of them even if one fails: a service that is half started could not be stopped."""
    results = await asyncio.gather(*starts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
