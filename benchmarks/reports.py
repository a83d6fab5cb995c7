"""Figures in the form that all benchmarks have."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

OUT: Final = Path(__file__).with_name("out")


def write(name: str, document: Mapping[str, Any]) -> Path:
    """As benchmarks/out/NAME.json, with the time."""
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.json"
    stamped = {"benchmark": name, "measured_at": datetime.now(UTC).isoformat(timespec="seconds"), **document}
    path.write_bytes(orjson.dumps(stamped, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
    return path


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("there are no values")
    return ordered[max(0, -(-int(share * 1000 * len(ordered)) // 1000) - 1)]
