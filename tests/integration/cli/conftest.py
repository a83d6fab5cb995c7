"""One installation with a running worker for all tests of a module: they keep apart by users and projects."""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import execute, run_apart, with_database
from tests.support.command_line import CommandLine


@pytest.fixture
def shell(
    tmp_path: Path, kafka_bootstrap: str, database_url: str, topic_prefix: str, program: Sequence[str]
) -> CommandLine:
    """An installation of this test's own, in which nothing runs."""
    return CommandLine.of(
        tmp_path, kafka=kafka_bootstrap, database_url=database_url, prefix=topic_prefix, program=program
    )


@pytest.fixture(scope="module")
def working(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_bootstrap: str,
    postgres_admin_url: str,
    template_database: str,
    program: Sequence[str],
) -> Iterator[CommandLine]:
    """An installation with a worker, shared by the tests of a module."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    run_apart(execute(postgres_admin_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"'))
    shell = CommandLine.of(
        tmp_path_factory.mktemp("shell"),
        kafka=kafka_bootstrap,
        database_url=with_database(postgres_admin_url, name),
        prefix=f"{name}-",
        program=program,
    )
    with shell.background("worker", until="worker.started"):
        yield shell
    run_apart(execute(postgres_admin_url, f'DROP DATABASE "{name}" WITH (FORCE)'))
