"""What a benchmark ran on, for its output and its JSON."""

import os
import platform
import resource
from collections.abc import Iterable
from importlib.metadata import version
from typing import Final

import psutil

from embedded.jars import KAFKA_VERSION

MIB: Final = 1 << 20
# What a worker with a model of OpenAI's API stands on.
WORKER_PACKAGES: Final = ("aiokafka", "asyncpg", "faust-streaming", "openai", "sqlalchemy", "uvloop")


def machine(packages: Iterable[str]) -> dict[str, str | int | float]:
    """Processors, how many processes were waiting for them when it began, and the versions of what was measured."""
    return {
        "cpus": os.cpu_count() or 0,
        "load": round(os.getloadavg()[0], 1),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION,
        **{package: version(package) for package in packages},
    }


def shown(described: dict[str, str | int | float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in described.items())


def rss_mib() -> float:
    return float(psutil.Process().memory_info().rss) / MIB


def cpu_s() -> float:
    """Of this process, all threads, so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
