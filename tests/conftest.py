"""The broker and the database of a test run: from the environment, else containers, else embedded."""

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import docker
import pytest
from docker.errors import DockerException
from hypothesis import HealthCheck, settings
from sqlalchemy.engine import URL, make_url

from embedded import EmbeddedKafka, EmbeddedPostgres
from tests.support.fork_server import forking

KAFKA_VARIABLE = "MEMOSTREAM_TEST_KAFKA"
DATABASE_VARIABLE = "MEMOSTREAM_TEST_DATABASE_URL"
KAFKA_IMAGE = "apache/kafka:4.1.1"
POSTGRES_IMAGE = "pgvector/pgvector:pg18"
TEMPLATE_DATABASE = "memostream_template"
# The bundled embedding model's.
EMBEDDING_DIMENSION = 256

_BROKER_SETTINGS = {
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_MESSAGE_MAX_BYTES": str(4 * 1024 * 1024),
}
# Test data need not survive a power cut.
_POSTGRES_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class ServiceSources:
    """Where this run takes its services from, as printed at its start."""

    kafka: str
    postgres: str


def pytest_configure(config: pytest.Config) -> None:
    # A run in the background ignores SIGINT, and so would the processes whose Ctrl-C is tested.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says how busy the machine is.
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")
    config.stash[_SOURCES] = choose_sources()


def pytest_report_header(config: pytest.Config) -> str:
    sources = config.stash[_SOURCES]
    return f"services: Kafka {sources.kafka}, Postgres {sources.postgres}"


_SOURCES = pytest.StashKey[ServiceSources]()


def choose_sources() -> ServiceSources:
    """`environment`, `container` or `embedded`, each service for itself."""
    fallback = "container" if _docker_answers() else "embedded"
    return ServiceSources(
        kafka="environment" if os.environ.get(KAFKA_VARIABLE) else fallback,
        postgres="environment" if os.environ.get(DATABASE_VARIABLE) else fallback,
    )


@pytest.fixture(scope="session")
def service_folder() -> Iterator[Path]:
    """A folder of this run's own: pytest closes and clears its own folders whenever another run begins."""
    with tempfile.TemporaryDirectory(prefix="memostream-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest, service_folder: Path) -> Iterator[str]:
    """A broker for the whole run; tests keep apart by `topic_prefix`."""
    source = request.config.stash[_SOURCES].kafka
    if source == "environment":
        yield os.environ[KAFKA_VARIABLE]
    elif source == "container":
        with _kafka_container() as bootstrap_servers:
            yield bootstrap_servers
    else:
        broker = EmbeddedKafka(service_folder / "broker")
        run_apart(broker.start())
        try:
            yield broker.bootstrap_servers
        finally:
            run_apart(broker.stop())


@pytest.fixture(scope="session")
def program(service_folder: Path) -> Iterator[Sequence[str]]:
    """A `memostream` that need not import anything, for tests that start many."""
    with forking(service_folder) as folder:
        yield [str(folder / "memostream")]


@pytest.fixture(scope="session")
def postgres_admin_url(request: pytest.FixtureRequest, service_folder: Path) -> Iterator[str]:
    """A server on which databases may be made and dropped, for SQLAlchemy's asyncpg driver."""
    source = request.config.stash[_SOURCES].postgres
    if source == "environment":
        yield os.environ[DATABASE_VARIABLE]
    elif source == "container":
        with _postgres_container() as url:
            yield url
    else:
        server = EmbeddedPostgres(service_folder / "database", settings=_POSTGRES_SETTINGS)
        run_apart(server.start())
        try:
            yield server.database_url("postgres")
        finally:
            run_apart(server.stop())


@pytest.fixture(scope="session")
def template_database(postgres_admin_url: str) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    from storage.migrate import migrate  # here: a unit test run needs no storage

    # Of this run alone, so that two runs on one server do not migrate the same one.
    name = f"{TEMPLATE_DATABASE}_{uuid.uuid4().hex[:8]}"

    async def prepare() -> None:
        await execute(postgres_admin_url, f'CREATE DATABASE "{name}"')
        await migrate(with_database(postgres_admin_url, name), embedding_dimension=EMBEDDING_DIMENSION)

    run_apart(prepare())
    yield name
    run_apart(execute(postgres_admin_url, f'DROP DATABASE "{name}"'))


@pytest.fixture
async def database_url(postgres_admin_url: str, template_database: str) -> AsyncIterator[str]:
    """A migrated, empty database of this test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    await execute(postgres_admin_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    yield with_database(postgres_admin_url, name)
    await execute(postgres_admin_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def topic_prefix() -> str:
    """Topics, groups and transactional ids that begin with it belong to this test alone."""
    return f"t{uuid.uuid4().hex[:8]}-"


def run_apart(work: Coroutine[None, None, None]) -> None:
    """Like asyncio.run, but it leaves the thread's current loop as it was: pytest-asyncio owns that one."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


async def execute(url: str, statement: str) -> None:
    """One statement outside a transaction, on the server's own driver."""
    connection = await asyncpg.connect(dsn=plain_dsn(url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def with_database(url: str, database: str) -> str:
    return _text(make_url(url).set(database=database))


def plain_dsn(url: str) -> str:
    """The same address without SQLAlchemy's driver name."""
    return _text(make_url(url).set(drivername="postgresql"))


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _docker_answers() -> bool:
    # Asked by hand first: docker's client leaks its socket when there is no engine.
    address = docker.utils.parse_host(os.environ.get("DOCKER_HOST"))
    if address.startswith("http+unix://"):
        with socket.socket(socket.AF_UNIX) as engine:
            try:
                engine.connect(address.removeprefix("http+unix://"))
            except OSError:
                return False
    try:
        client = docker.from_env(timeout=5)
    except DockerException:
        return False
    with contextlib.closing(client):
        try:
            return bool(client.ping())
        except DockerException:
            return False


@contextlib.contextmanager
def _kafka_container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.waiting_utils import wait_for_logs

    from embedded.kafka import choose_ports  # the advertised address must be known before the start

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, _ = choose_ports(folder / "ports.json")
        container = DockerContainer(KAFKA_IMAGE).with_bind_ports(9092, port)
        listeners = {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        }
        for key, value in {**listeners, **_BROKER_SETTINGS}.items():
            container.with_env(key, value)
        stack.enter_context(container)
        wait_for_logs(container, "Kafka Server started", timeout=90)
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def _postgres_container() -> Iterator[str]:
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer(POSTGRES_IMAGE, driver="asyncpg").with_command(
        " ".join(["postgres", *(f"-c {key}={value}" for key, value in _POSTGRES_SETTINGS.items())])
    )
    with container:
        yield container.get_connection_url()
