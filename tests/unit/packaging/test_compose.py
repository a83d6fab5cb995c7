"""docker-compose.yml by the Compose Specification's schema, and by what its parts have to know of one another."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]

from schemas.settings import Settings, load_settings
from streams.stopping import gateway_stop_limit_s, stop_limit_s
from tests.conftest import KAFKA_IMAGE
from tests.support.dockerfile import ROOT, read_stages

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = DOCUMENT["services"]
KAFKA, POSTGRES, WORKER, GATEWAY = (SERVICES[name] for name in ("kafka", "postgres", "worker", "api"))
PROGRAMS = pytest.mark.parametrize("program", [WORKER, GATEWAY], ids=("worker", "api"))


def interpolated(text: str) -> str:
    """With the defaults of variables that nobody has set, and `given` for those that must be set."""
    return re.sub(r"\$\{\w+:\?[^}]*\}", "given", re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))


def seconds(text: str) -> float:
    amount, unit = re.fullmatch(r"(\d+)([sm])", text).groups()  # type: ignore[union-attr]
    return float(amount) * {"s": 1, "m": 60}[unit]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As a worker's container reads them."""
    monkeypatch.chdir(tmp_path)
    return settings_of(WORKER)


def settings_of(program: dict[str, Any]) -> Settings:
    given = {name: interpolated(value) for name, value in program["environment"].items()}
    return load_settings(environ=read_stages()[-1].pairs("ENV") | given)


def test_the_file_is_valid_by_the_compose_specification() -> None:
    # The package cannot be imported beside our click; its schemas are files.
    spec = find_spec("check_jsonschema")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (folder,) = spec.submodule_search_locations
    schema = json.loads((Path(folder) / "builtin_schemas/vendor/compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.validate(DOCUMENT, schema)


def test_a_service_that_is_waited_for_has_a_health_check_and_no_circle_of_waiting() -> None:
    waits = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    for needed in waits.values():
        for name, wait in needed.items():
            assert wait["condition"] == "service_healthy"
            assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
            assert not waits[name]


def test_images_are_pinned_and_the_broker_is_the_one_that_the_tests_run() -> None:
    assert all(re.search(r":.*\d", service["image"]) for service in SERVICES.values())
    assert KAFKA["image"] == KAFKA_IMAGE
    version = read_stages()[-1].pairs("LABEL")["org.opencontainers.image.version"]
    assert WORKER["image"] == GATEWAY["image"] == f"memostream:{version}"


def test_the_worker_finds_broker_and_database_where_they_are(settings: Settings) -> None:
    advertised = dict(entry.split("://") for entry in KAFKA["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listening = dict(entry.split("://") for entry in KAFKA["environment"]["KAFKA_LISTENERS"].split(","))
    assert settings.kafka.bootstrap_servers == advertised["INTERNAL"]
    assert advertised["INTERNAL"] == f"kafka{listening['INTERNAL']}"
    server = {name: interpolated(value) for name, value in POSTGRES["environment"].items()}
    user, password, name = server["POSTGRES_USER"], server["POSTGRES_PASSWORD"], server["POSTGRES_DB"]
    expected = f"postgresql+asyncpg://{user}:{password}@postgres:5432/{name}"
    assert settings.storage.database_url.get_secret_value() == expected


def test_programs_on_the_machine_reach_the_broker_where_it_tells_them_to_and_nobody_else_does() -> None:
    advertised = dict(entry.split("://") for entry in KAFKA["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(","))
    (published,) = KAFKA["ports"]
    address, outside, inside = published.split(":")
    assert (address, f"localhost:{outside}") == ("127.0.0.1", advertised["HOST"])
    assert f"HOST://:{inside}" in KAFKA["environment"]["KAFKA_LISTENERS"].split(",")


def test_every_listener_of_the_broker_has_a_protocol_and_one_copy_is_enough_for_one_broker() -> None:
    environment = KAFKA["environment"]
    listeners = {entry.split("://")[0] for entry in environment["KAFKA_LISTENERS"].split(",")}
    protocols = dict(entry.split(":") for entry in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert protocols.keys() == listeners
    copies = {name: value for name, value in environment.items() if re.search(r"REPLICATION_FACTOR|MIN_ISR", name)}
    assert len(copies) == 5
    assert set(copies.values()) == {1}


def test_data_lies_in_volumes_that_are_declared() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert used == DOCUMENT["volumes"].keys()
    assert KAFKA["environment"]["KAFKA_LOG_DIRS"] in {volume.split(":")[1] for volume in KAFKA["volumes"]}


def test_workers_can_be_scaled() -> None:
    assert not WORKER.keys() & {"container_name", "hostname", "ports", "volumes"}


def test_a_program_is_given_the_time_that_it_may_take_to_stop(settings: Settings) -> None:
    assert seconds(WORKER["stop_grace_period"]) >= stop_limit_s(settings.worker)
    assert seconds(GATEWAY["stop_grace_period"]) >= gateway_stop_limit_s(settings.api)


@PROGRAMS
def test_a_program_runs_without_rights_and_without_a_disk(program: dict[str, Any]) -> None:
    assert program["read_only"] is True
    assert program["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in program["security_opt"]


def test_the_gateway_uses_what_the_worker_uses_and_nobody_is_let_in_by_default(settings: Settings) -> None:
    of_gateway = settings_of(GATEWAY)
    assert of_gateway.kafka == settings.kafka
    assert of_gateway.storage == settings.storage
    assert ":?" in GATEWAY["environment"]["MEMOSTREAM_API__ROOT_TOKEN"]
    assert GATEWAY["ports"] == [f"127.0.0.1:{of_gateway.api.port}:{of_gateway.api.port}"]
    assert GATEWAY["command"] == ["api"]
    assert "MEMOSTREAM_API__PORT" in GATEWAY["healthcheck"]["test"][-1]
