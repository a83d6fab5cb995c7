"""A worker and the gateway, each in a process of its own, for tests that ask over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from tests.support.command_line import CommandLine
from tests.support.ports import free_port

ROOT_TOKEN = "root-of-this-test"
# As a client that waits for extraction; machines that run tests are slow.
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Running:
    """An installation whose gateway answers at `url`."""

    shell: CommandLine
    url: str

    @contextmanager
    @contextmanager
    def another_gateway(self, **variables: str) -> Iterator["RunningSystem"]:
        """A second gateway on the same database and topics, with settings of its own."""
        port = free_port()
        shell = self.shell.with_variables(MEMOSTREAM_API__PORT=str(port), **variables)
        with shell.background("api", until="gateway.started") as gateway:
            yield replace(self, shell=shell, url=f"http://127.0.0.1:{port}", gateway=gateway)

    def client(self, token: str = ROOT_TOKEN, **headers: str) -> Iterator[httpx.Client]:
        with httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {token}", **headers},
            timeout=TIMEOUT_S,
        ) as client:
            yield client


@contextmanager
def running_gateway(shell: CommandLine, *, worker: bool = True, **variables: str) -> Iterator[Running]:
    """Both until the end of the block; `variables` are settings of the gateway's alone."""
    port = free_port()
    gateway = shell.with_variables(MEMOSTREAM_API__ROOT_TOKEN=ROOT_TOKEN, MEMOSTREAM_API__PORT=str(port), **variables)
    with gateway.background("api", until="gateway.started"):
        running = Running(shell, f"http://127.0.0.1:{port}")
        if not worker:
            yield running
            return
        with shell.background("worker", until="worker.started"):
            yield running


def data_of(response: httpx.Response) -> Any:
    """What a success holds; anything else is an AssertionError."""
    assert response.status_code == 200, response.text
    document = response.json()
    assert document["errno"] == 0, document
    return document["data"]


def errno_of(response: httpx.Response) -> int:
    return int(response.json()["errno"])
