"""`memostream doctor` names faults of the configuration and of this machine that are planted, and their fix."""

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.diagnosis import findings, only_fault


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("kafka:\n  topic_prefx: a-\n", "unknown key kafka.topic_prefx; did you mean kafka.topic_prefix?"),
        ("buffer:\n  max_window_blobs: -1\n", "buffer.max_window_blobs"),
        ("kafka:\n  partitions: [\n", "config.yaml is no YAML (line"),
    ],
)
async def test_a_configuration_with_a_fault(shell: CommandLine, tmp_path: Path, written: str, found: str) -> None:
    (tmp_path / "config.yaml").write_text(written)
    fault = await only_fault(shell)
    assert fault.check == "configuration"
    assert found in fault.found
    assert "config.yaml" in fault.found
    everything = await findings(shell, fails=True)
    assert {entry["found"] for entry in everything[1:]} == {"needs configuration"}


async def test_a_key_of_memobase_without_effect(installed: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("telemetry_deployment_environment: production\n")
    fault = await only_fault(installed, level="warning")
    assert fault.check == "configuration"
    assert "config.yaml: telemetry_deployment_environment: no effect" in fault.found
    assert "remove it" in fault.fix


async def test_a_secret_that_is_wrongly_written_is_not_shown(shell: CommandLine) -> None:
    secret = "mysql://memo:open-sesame@db/memory"
    fault = await only_fault(shell.with_variables(MEMOSTREAM_STORAGE__DATABASE_URL=secret))
    assert "storage.database_url: must start with postgresql+asyncpg://" in fault.found
    assert "open-sesame" not in str(fault)


async def test_a_folder_that_cannot_be_made(installed: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("in the way")
    on_disk = installed.with_variables(
        MEMOSTREAM_BUFFER__STORE="rocksdb", MEMOSTREAM_BUFFER__DATA_DIR=str(tmp_path / "a-file" / "copies")
    )
    fault = await only_fault(on_disk)
    assert fault.check == "folder"
    assert fault.found.startswith(f"{tmp_path / 'a-file'} is no folder")
    assert fault.fix == "choose another buffer.data_dir"


async def test_a_folder_that_will_be_made_is_not_made_by_doctor(installed: CommandLine, tmp_path: Path) -> None:
    copies = tmp_path / "not" / "yet"
    on_disk = installed.with_variables(MEMOSTREAM_BUFFER__STORE="rocksdb", MEMOSTREAM_BUFFER__DATA_DIR=str(copies))
    (folder,) = [entry for entry in await findings(on_disk, "--no-model") if entry["check"] == "folder"]
    assert folder["level"] == "ok"
    assert not copies.parent.exists()
