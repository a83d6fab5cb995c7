"""The Kubernetes manifests by the API's schemas, and by what they have to know of one another and of the worker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]

from schemas.settings import Settings, load_settings
from streams.worker import ROLES
from tests.support.dockerfile import ROOT, read_stages
from tests.support.stopping import longest_stop_s

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


DEPLOYMENT = load(FOLDER / "worker" / "deployment.yaml")
POD: dict[str, Any] = DEPLOYMENT["spec"]["template"]["spec"]
(WORKER,) = POD["containers"]
CONTAINERS: list[dict[str, Any]] = [*POD["initContainers"], WORKER]
LABELS: dict[str, str] = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]


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
    (mount,) = [mount for mount in WORKER["volumeMounts"] if mount["name"] == "config"]
    assert mount["mountPath"] == read_stages()[-1].last("WORKDIR")
    assert CONFIG.name == "config.yaml"


def test_no_variable_of_a_service_is_taken_for_a_setting() -> None:
    assert POD["enableServiceLinks"] is False


def test_what_is_referred_to_by_name_has_that_name() -> None:
    (generated,) = load(FOLDER / "shared" / "kustomization.yaml")["configMapGenerator"]
    assert [volume["configMap"]["name"] for volume in POD["volumes"] if "configMap" in volume] == [generated["name"]]
    secret = load(EXAMPLE)["metadata"]["name"]
    assert all(container["envFrom"] == [{"secretRef": {"name": secret}}] for container in CONTAINERS)
    account = load(FOLDER / "shared" / "service-account.yaml")
    assert POD["serviceAccountName"] == account["metadata"]["name"]
    mounted = {mount["name"] for container in CONTAINERS for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in POD["volumes"]}
    for entrance in ENTRANCES:
        (image,) = load(entrance / "kustomization.yaml")["images"]
        assert {container["image"] for container in CONTAINERS} == {image["name"]}
        assert image["newTag"] == read_stages()[-1].pairs("LABEL")["org.opencontainers.image.version"]
        assert (
            load(entrance / "kustomization.yaml")["namespace"]
            == load(FOLDER / "shared" / "namespace.yaml")["metadata"]["name"]
        )


def test_selectors_choose_the_pods_of_the_deployment() -> None:
    budget = load(FOLDER / "worker" / "disruption-budget.yaml")["spec"]["selector"]["matchLabels"]
    policy = load(FOLDER / "shared" / "network-policy.yaml")["spec"]["podSelector"]["matchLabels"]
    (spread,) = POD["topologySpreadConstraints"]
    for selector in (DEPLOYMENT["spec"]["selector"]["matchLabels"], budget, spread["labelSelector"]["matchLabels"]):
        assert selector == LABELS
    assert policy.items() < LABELS.items()


def test_probes_ask_the_port_that_the_image_serves_and_the_network_lets_them(settings: Settings) -> None:
    (port,) = WORKER["ports"]
    assert port["containerPort"] == settings.worker.health_port
    paths = {name: WORKER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in paths.values()} == {port["name"]}
    assert [probe["path"] for probe in paths.values()] == ["/livez", "/livez", "/readyz"]
    policy = load(FOLDER / "shared" / "network-policy.yaml")["spec"]["ingress"]
    assert policy == [{"ports": [{"port": port["name"]}]}]


def test_a_pod_is_given_the_time_that_a_worker_may_take_to_stop(settings: Settings) -> None:
    assert POD["terminationGracePeriodSeconds"] >= longest_stop_s(settings)


def test_pods_meet_the_restricted_standard_and_have_limits() -> None:
    user, group = read_stages()[-1].last("USER").split(":")
    security = POD["securityContext"]
    assert security["runAsNonRoot"] is True
    assert (security["runAsUser"], security["runAsGroup"]) == (int(user), int(group))
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    for container in CONTAINERS:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_what_a_worker_writes_goes_to_a_volume(settings: Settings) -> None:
    writable = {mount["mountPath"] for mount in WORKER["volumeMounts"] if not mount.get("readOnly")}
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
