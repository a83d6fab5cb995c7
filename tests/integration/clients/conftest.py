"""The example consumers, made ready to run once for all tests."""

import shutil
from pathlib import Path

import pytest

from tests.support.client_types import CLIENTS, JAVA, JAVA_SOURCES, TYPESCRIPT
from tests.support.java import compile_java, jars, java_command
from tests.support.node import NODE, node_packages


@pytest.fixture(scope="session")
def typescript_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the TypeScript consumer with its packages installed."""
    folder = tmp_path_factory.mktemp("typescript")
    for file in TYPESCRIPT.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(node_packages(TYPESCRIPT) / "node_modules")
    return folder


@pytest.fixture(scope="session")
def typescript_consumer(typescript_folder: Path) -> list[str]:
    """The command that runs it."""
    return [NODE, str(typescript_folder / "consumer.ts")]


@pytest.fixture(scope="session")
def java_consumer(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs the Java consumer, freshly compiled."""
    classes = tmp_path_factory.mktemp("classes")
    paths = jars(JAVA / "jars.sha256")
    compile_java(CLIENTS / JAVA_SOURCES, paths, classes)
    return java_command("memostream.Consumer", paths, classes)
