"""The consumers' types, generated from the published schemas by quicktype; `python -m tests.support.client_types`."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.node import NODE, node_packages

ROOT: Final = Path(__file__).parents[2]
SCHEMAS: Final = ROOT / "docs" / "schemas"
CLIENTS: Final = ROOT / "clients"
TYPESCRIPT: Final = CLIENTS / "typescript"
JAVA: Final = CLIENTS / "java"
JAVA_SOURCES: Final = Path("java", "src", "main", "java")
QUICKTYPE: Final = Path("node_modules", "quicktype", "dist", "index.js")
# The value of each topic that the consumers read, and the name of its type.
TYPES: Final = {
    "profile-updated": "ProfileChanged",
    "event-updated": "EventChanged",
    "profiles": "ProfileState",
}


@dataclass(frozen=True, slots=True)
class Target:
    """What one run of quicktype writes: a file, or for Java a folder with a file a class; relative to `clients`."""

    schema: Path
    type_name: str
    path: Path
    options: tuple[str, ...]

    @property
    def is_folder(self) -> bool:
        return self.path.suffix == ""


def targets() -> Iterator[Target]:
    """A file or package for each topic: generated together, types that schemas share would get two odd names."""
    for topic, type_name in TYPES.items():
        schema = SCHEMAS / f"{topic}.json"
        typescript = ("--lang", "typescript", "--raw-type", "any")
        yield Target(schema, type_name, Path("typescript", f"{topic}.ts"), typescript)
        package = topic.replace("-", "")
        java = ("--lang", "java", "--array-type", "list", "--package", f"memostream.{package}")
        yield Target(schema, type_name, JAVA_SOURCES / "memostream" / package, java)


def generate(clients: Path) -> None:
    """Write all types below a folder that stands for `clients`; what an older schema left there goes."""
    quicktype = node_packages(TYPESCRIPT) / QUICKTYPE
    for target in targets():
        path = clients / target.path
        if target.is_folder:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        # For Java, quicktype takes the folder of the file that is named, and names its files itself.
        out = path / f"{target.type_name}.java" if target.is_folder else path
        named = ["--src-lang", "schema", "--top-level", target.type_name, "--out", str(out)]
        subprocess.run([NODE, str(quicktype), *target.options, *named, str(target.schema)], check=True)


if __name__ == "__main__":
    generate(CLIENTS)
