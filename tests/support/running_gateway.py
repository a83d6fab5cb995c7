"""A worker and a gateway in processes of their own, as an operator runs them."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from tests.conftest import execute, run_apart, with_database
from tests.support.command_line import Background, CommandLine
from tests.support.ports import free_port

ROOT_TOKEN = "root-of-this-system"
# Above the limits that the gateway itself sets.
TIMEOUT_S = 90.0
# Two programs begin at once, beside other tests.
START_S = 180.0


@dataclass(frozen=True)
class RunningSystem:
    """`url` is the gateway's, as a client's base address."""

    shell: CommandLine
    url: str
    worker: Background
    gateway: Background
    database_url: str

    def token(self, project_id: str) -> str:
        """A new token of a project."""
        return self.shell.call("project", "create", project_id).stdout.strip()

    @contextmanager
    def another_gateway(self, **variables: str) -> Iterator["RunningSystem"]:
        """A second gateway on the same database and topics, with settings of its own."""
        port = free_port()
        shell = self.shell.with_variables(MEMOSTREAM_API__PORT=str(port), **variables)
        with shell.background("api") as gateway:
            gateway.wait_for("gateway.started", START_S)
            yield replace(self, shell=shell, url=f"http://127.0.0.1:{port}", gateway=gateway)

    def client(self, token: str = ROOT_TOKEN, **headers: str) -> httpx.Client:
        sent = {"Authorization": f"Bearer {token}", **headers}
        return httpx.Client(base_url=self.url, headers=sent, timeout=TIMEOUT_S)


@contextmanager
def running_system(
    folder: Path,
    kafka_bootstrap: str,
    postgres_admin_url: str,
    template_database: str,
    program: Sequence[str],
    **variables: str,
) -> Iterator[RunningSystem]:
    """A system on a database and on topics of its own; `variables` are settings, as in a shell."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    run_apart(execute(postgres_admin_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"'))
    database_url = with_database(postgres_admin_url, name)
    port = free_port()
    shell = CommandLine.of(
        folder, kafka=kafka_bootstrap, database_url=database_url, prefix=f"{name}-", program=program
    ).with_variables(MEMOSTREAM_API__PORT=str(port), MEMOSTREAM_API__ROOT_TOKEN=ROOT_TOKEN, **variables)
    # Side by side, for both take a while to begin.
    with shell.background("worker") as worker, shell.background("api") as gateway:
        worker.wait_for("worker.started", START_S)
        gateway.wait_for("gateway.started", START_S)
        yield RunningSystem(shell, f"http://127.0.0.1:{port}", worker, gateway, database_url)
    run_apart(execute(postgres_admin_url, f'DROP DATABASE "{name}" WITH (FORCE)'))
