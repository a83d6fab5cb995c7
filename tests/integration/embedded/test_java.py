"""Kafka's programs start from a cache of classes where there is a right one, and all the same where there is not."""

import subprocess
from pathlib import Path

import pytest

from embedded.jars import classpath
from embedded.java import aot_cache, java_command

RANDOM_ID = ["kafka.tools.StorageTool", "random-uuid"]


@pytest.fixture
def jars(tmp_path: Path) -> list[Path]:
    """In a folder of their own, without a cache."""
    for jar in classpath(progress=lambda _: None):
        (tmp_path / jar.name).symlink_to(jar)
    return sorted(tmp_path.iterdir())


def test_a_broken_cache_neither_stops_a_program_nor_stands_in_its_output(jars: list[Path]) -> None:
    aot_cache(jars).write_bytes(b"broken")
    command = java_command(jars, heap_mb=64)
    assert f"-XX:AOTCache={aot_cache(jars)}" in command
    done = subprocess.run([*command, *RANDOM_ID], capture_output=True, text=True, check=True)
    assert len(done.stdout.split()) == 1
    assert done.stderr == ""


def test_another_jar_has_another_cache(jars: list[Path]) -> None:
    cache = aot_cache(jars)
    assert aot_cache(jars) == cache
    content = jars[0].read_bytes()
    jars[0].unlink()
    jars[0].write_bytes(content)
    assert aot_cache(jars) != cache
    assert not any(option.startswith("-XX:AOTCache") for option in java_command(jars, heap_mb=64))
