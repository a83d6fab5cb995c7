"""The Dockerfile as tests read it, and the steps of its build stage in a folder, without an engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENVIRONMENT = "/opt/memostream"
NO_BYTECODE = shutil.ignore_patterns("__pycache__", "*.py[cod]")


@dataclass(frozen=True)
class Stage:
    """What stands between two FROM lines; instructions in their order."""

    base: str
    name: str
    instructions: tuple[tuple[str, str], ...]

    def all(self, word: str) -> list[str]:
        return [arguments for instruction, arguments in self.instructions if instruction == word]

    def last(self, word: str) -> str:
        return self.all(word)[-1]

    def pairs(self, word: str) -> dict[str, str]:
        """What `ENV` or `LABEL` sets."""
        found = (re.findall(r'([\w.]+)=(?:"([^"]*)"|(\S+))', arguments) for arguments in self.all(word))
        return {name: quoted or bare for group in found for name, quoted, bare in group}

    def command(self, word: str) -> list[str]:
        """The JSON form of `ENTRYPOINT`, `CMD` or `HEALTHCHECK`."""
        arguments: list[str] = json.loads(re.sub(r"^.*?(?=\[)", "", self.last(word), flags=re.DOTALL))
        return arguments


def read_stages(path: Path = ROOT / "Dockerfile") -> list[Stage]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    stages: list[tuple[str, list[tuple[str, str]]]] = []
    for line in filter(str.strip, joined.splitlines()):
        word, _, arguments = line.strip().partition(" ")
        if word == "FROM":
            stages.append((arguments, []))
        else:
            stages[-1][1].append((word, arguments.strip()))
    return [Stage(text.split()[0], text.split()[-1], tuple(instructions)) for text, instructions in stages]


def allowed_by_dockerignore() -> list[str]:
    """What reaches the engine: the file leaves out all but these."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert "*" in lines
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


@dataclass(frozen=True)
class BuiltImage:
    """The environment that the build stage made, and how the last stage runs it."""

    folder: Path
    stage: Stage
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> Path:
        return self._place(ENVIRONMENT)

    @property
    def workdir(self) -> Path:
        return self._place(self.stage.last("WORKDIR"))

    @property
    def data_dir(self) -> Path:
        return self._place(self.stage.pairs("ENV")["MEMOSTREAM_BUFFER__DATA_DIR"])

    def settings(self, **more: str) -> dict[str, str]:
        """The variables of a container, as the image and `more` set them; nothing of the surroundings."""
        given = {name: self._inside(value) for name, value in self.stage.pairs("ENV").items()}
        path = f"{self.environment / 'bin'}:{os.environ['PATH']}"
        return {**given, "PATH": path, "HOME": str(self.data_dir), **more}

    def run(self, *command: str, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=self.workdir, env=dict(variables), capture_output=True, text=True, timeout=60, check=False
        )

    def start(self, *command: str, variables: Mapping[str, str], log: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command,
            cwd=self.workdir,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def _inside(self, text: str) -> str:
        return re.sub(r"(?<![\w.])/(opt|src|etc|var)/", rf"{self.folder}/\1/", text)

    def _place(self, path: str) -> Path:
        return self.folder / path.removeprefix("/")


def build(folder: Path, **arguments: str) -> BuiltImage:
    """Run the steps of the build stage in the folder; `arguments` are build arguments.

    Raises CalledProcessError when a step fails.
    """
    first, last = read_stages()
    image = BuiltImage(folder, last)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MEMOSTREAM_")}
    # The steps say `python`: this one, which has a pip as the base image has.
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    (folder / "opt").mkdir(parents=True)
    workdir = folder
    for word, text in first.instructions:
        match word:
            case "ENV" | "ARG":
                for name, value in re.findall(r"(\w+)=(\S+)", text):
                    # The engine's build begins without a cache anyway.
                    if name != "PIP_NO_CACHE_DIR":
                        variables[name] = arguments.get(name, value)
            case "WORKDIR":
                workdir = image._place(text)
                workdir.mkdir(parents=True)
            case "COPY":
                source, target = text.split()
                _copy(source, workdir / target)
            case "RUN":
                step = text.replace(f"{ENVIRONMENT}", str(image.environment))
                subprocess.run(["sh", "-ec", step], cwd=workdir, env=variables, check=True)
            case _:
                raise AssertionError(f"the build stage has a step that is not run here: {word}")
    image.workdir.mkdir(parents=True)
    image.data_dir.mkdir(parents=True)
    return image


def _copy(source: str, target: Path) -> None:
    names = allowed_by_dockerignore() if source == "." else [source]
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=NO_BYTECODE)
        else:
            shutil.copy(ROOT / name, target / name)
