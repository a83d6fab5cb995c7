"""The Kubernetes manifests by the API's schemas, and by what they have to know of one another and of us."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]

from schemas.settings import Settings, load_settings
from streams.stopping import gateway_stop_limit_s, stop_limit_s
from streams.worker import ROLES
from tests.support.dockerfile import ROOT, read_stages

FOLDER = ROOT / "deploy" / "kubernetes"
ENTRANCES = (FOLDER, FOLDER / "split-roles")
EXAMPLE = FOLDER / "secret.example.yaml"
CONFIG = FOLDER / "shared" / "config.yaml"
# The oldest version that still gets fixes, and the newest whose schemas are here.
VERSIONS = ("1.34", kubernetes_validate.latest_version())


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def kustomizations(folder: Path) -> Iterator[Path]:
    """The kustomization of a folder and all that it is built on."""
    file = folder / "kustomization.yaml"
    yield file
    for name in load(file)["resources"]:
        if (folder / name).is_dir():
            yield from kustomizations((folder / name).resolve())


def manifests() -> list[Path]:
    return sorted(path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml" and path != CONFIG)


@dataclass(frozen=True)
class Program:
    """A Deployment, and what belongs to it."""

    name: str

    @property
    def deployment(self) -> dict[str, Any]:
        return load(FOLDER / self.name / "deployment.yaml")

    @property
    def pod(self) -> dict[str, Any]:
        pod: dict[str, Any] = self.deployment["spec"]["template"]["spec"]
        return pod

    @property
    def main(self) -> dict[str, Any]:
        (container,) = self.pod["containers"]
        return dict(container)

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.pod["initContainers"], self.main]

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.deployment["spec"]["template"]["metadata"]["labels"]
        return labels

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.main["ports"]}


WORKER, GATEWAY = Program("worker"), Program("gateway")
PROGRAMS = pytest.mark.parametrize("program", [WORKER, GATEWAY], ids=lambda program: program.name)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As a worker's container reads them."""
    monkeypatch.chdir(tmp_path)
    return load_settings(CONFIG, read_stages()[-1].pairs("ENV") | load(EXAMPLE)["stringData"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", manifests(), ids=lambda path: path.name)
def test_a_manifest_is_valid_and_holds_no_unknown_key(path: Path, version: str) -> None:
    kubernetes_validate.validate(load(path), version, strict=True)


def test_every_file_is_reached_from_the_entrances_but_for_the_example_of_a_secret() -> None:
    listed: set[Path] = set()
    for file in {found for entrance in ENTRANCES for found in kustomizations(entrance)}:
        document = load(file)
        generated = [name for item in document.get("configMapGenerator", ()) for name in item["files"]]
        names = [(file.parent / name).resolve() for name in [*document["resources"], *generated]]
        assert all(name.exists() for name in names)
        # kustomize refuses files from elsewhere; folders may be anywhere.
        assert all(name.is_dir() or name.is_relative_to(file.parent) for name in names)
        listed |= {file, *(name for name in names if name.is_file())}
    assert set(FOLDER.rglob("*.yaml")) - listed == {EXAMPLE}


def test_the_configuration_and_the_secret_are_settings_that_we_know(settings: Settings) -> None:
    assert settings.kafka.replication_factor == 3
    assert settings.extraction.provider == "openai"
    # A file that the image reads by itself, where the map is mounted.
    for program in (WORKER, GATEWAY):
        (mount,) = [mount for mount in program.main["volumeMounts"] if mount["name"] == "config"]
        assert mount["mountPath"] == read_stages()[-1].last("WORKDIR")
    assert CONFIG.name == "config.yaml"


@PROGRAMS
def test_no_variable_of_a_service_is_taken_for_a_setting(program: Program) -> None:
    assert program.pod["enableServiceLinks"] is False


@PROGRAMS
def test_what_is_referred_to_by_name_has_that_name(program: Program) -> None:
    (generated,) = load(FOLDER / "shared" / "kustomization.yaml")["configMapGenerator"]
    volumes = program.pod["volumes"]
    assert [volume["configMap"]["name"] for volume in volumes if "configMap" in volume] == [generated["name"]]
    secret = load(EXAMPLE)["metadata"]["name"]
    assert all(container["envFrom"] == [{"secretRef": {"name": secret}}] for container in program.containers)
    account = load(FOLDER / "shared" / "service-account.yaml")
    assert program.pod["serviceAccountName"] == account["metadata"]["name"]
    mounted = {mount["name"] for container in program.containers for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in volumes}
    for entrance in ENTRANCES:
        (image,) = load(entrance / "kustomization.yaml")["images"]
        assert {container["image"] for container in program.containers} == {image["name"]}
        assert image["newTag"] == read_stages()[-1].pairs("LABEL")["org.opencontainers.image.version"]
        assert (
            load(entrance / "kustomization.yaml")["namespace"]
            == load(FOLDER / "shared" / "namespace.yaml")["metadata"]["name"]
        )


@PROGRAMS
def test_selectors_choose_the_pods_of_the_deployment(program: Program) -> None:
    budget = load(FOLDER / program.name / "disruption-budget.yaml")["spec"]["selector"]["matchLabels"]
    (spread,) = program.pod["topologySpreadConstraints"]
    chosen = program.deployment["spec"]["selector"]["matchLabels"]
    for selector in (chosen, budget, spread["labelSelector"]["matchLabels"]):
        assert selector == program.labels


def test_the_service_leads_to_the_port_of_the_gateway(settings: Settings) -> None:
    service = load(FOLDER / "gateway" / "service.yaml")["spec"]
    assert service["selector"] == GATEWAY.labels
    (port,) = service["ports"]
    assert GATEWAY.ports == {port["targetPort"]: settings.api.port}
    assert settings.api.host == "0.0.0.0"


def test_the_network_lets_in_requests_to_gateways_and_to_workers_probes_and_what_gateways_ask(
    settings: Settings,
) -> None:
    assert WORKER.ports == {"health": settings.worker.health_port, "internal": settings.worker.internal_port}
    assert settings.worker.internal_host == "0.0.0.0"
    workers = load(FOLDER / "worker" / "network-policy.yaml")["spec"]
    assert workers["podSelector"]["matchLabels"] == WORKER.labels
    everybody, ours = workers["ingress"]
    assert everybody == {"ports": [{"port": "health"}]}
    assert ours["ports"] == [{"port": "internal"}]
    (allowed,) = ours["from"]
    (expression,) = allowed["podSelector"]["matchExpressions"]
    assert expression["operator"] == "In"
    assert all(program.labels[expression["key"]] in expression["values"] for program in (WORKER, GATEWAY))
    gateways = load(FOLDER / "gateway" / "network-policy.yaml")["spec"]
    assert gateways["podSelector"]["matchLabels"] == GATEWAY.labels
    assert gateways["ingress"] == [{"ports": [{"port": name} for name in GATEWAY.ports]}]


@pytest.mark.parametrize(("program", "port"), [(WORKER, "health"), (GATEWAY, "http")])
def test_probes_ask_whether_a_program_is_alive_and_whether_it_is_ready(program: Program, port: str) -> None:
    paths = {name: program.main[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in paths.values()} == {port}
    assert [probe["path"] for probe in paths.values()] == ["/livez", "/livez", "/readyz"]


@pytest.mark.parametrize(("program", "port"), [(WORKER, "health"), (GATEWAY, "http")])
def test_prometheus_is_told_where_the_metrics_are(program: Program, port: str) -> None:
    told = program.deployment["spec"]["template"]["metadata"]["annotations"]
    assert told == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(program.ports[port]),
        "prometheus.io/path": "/metrics",
    }


def test_a_pod_is_given_the_time_that_its_program_may_take_to_stop(settings: Settings) -> None:
    assert WORKER.pod["terminationGracePeriodSeconds"] >= stop_limit_s(settings.worker)
    pause = GATEWAY.main["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert GATEWAY.pod["terminationGracePeriodSeconds"] >= pause + gateway_stop_limit_s(settings.api)


@PROGRAMS
def test_pods_meet_the_restricted_standard_and_have_limits(program: Program) -> None:
    user, group = read_stages()[-1].last("USER").split(":")
    security = program.pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert (security["runAsUser"], security["runAsGroup"]) == (int(user), int(group))
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert program.pod["automountServiceAccountToken"] is False
    for container in program.containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_what_a_worker_writes_goes_to_a_volume(settings: Settings) -> None:
    writable = {mount["mountPath"] for mount in WORKER.main["volumeMounts"] if not mount.get("readOnly")}
    assert str(settings.buffer.data_dir) in writable


def test_the_split_has_every_role_once() -> None:
    roles: list[str] = []
    for folder in ("buffer", "extraction"):
        document = load(FOLDER / "split-roles" / folder / "kustomization.yaml")
        (patch,) = document["patches"]
        operations = {item["path"]: item["value"] for item in yaml.safe_load(patch["patch"])}
        command, option, named = operations["/spec/template/spec/containers/0/args"]
        assert (command, option) == ("worker", "--roles")
        roles += named.split(",")
        (labels,) = document["labels"]
        assert labels["includeSelectors"] is True
    assert sorted(roles) == sorted(ROLES)
