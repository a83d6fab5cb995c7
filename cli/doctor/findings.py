"""What a check found: values, and what they mean for a script."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["ok", "warning", "failed", "skipped"]

EXIT_FINE: Final = 0
EXIT_FAULTY: Final = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. Whoever reads it must be able to act on `fix`; neither text holds a secret or what a user said."""

    level: Level
    found: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """All that one check found; never empty."""

    check: str
    findings: tuple[Finding, ...]

    @property
    def blocks(self) -> bool:
        """Whether checks that need this one would only fail for the same reason."""
        return any(finding.level in ("failed", "skipped") for finding in self.findings)


def ok(found: str) -> Finding:
    return Finding("ok", found)


def warning(found: str, fix: str) -> Finding:
    return Finding("warning", found, fix)


def failed(found: str, fix: str) -> Finding:
    return Finding("failed", found, fix)


def skipped(because: str) -> Finding:
    return Finding("skipped", because)


def unless_faulty(faults: Iterable[Finding], found: str) -> list[Finding]:
    """The faults, or one line that says what is well."""
    return list(faults) or [ok(found)]


def count_levels(results: Iterable[Result]) -> dict[Level, int]:
    counts: dict[Level, int] = {"ok": 0, "warning": 0, "failed": 0, "skipped": 0}
    for result in results:
        for finding in result.findings:
            counts[finding.level] += 1
    return counts


def exit_code(results: Sequence[Result], *, strict: bool) -> int:
    """1 if anything failed, with `strict` also for a warning; what was skipped has a failure that it waits for."""
    counts = count_levels(results)
    faults = counts["failed"] + (counts["warning"] if strict else 0)
    return EXIT_FAULTY if faults else EXIT_FINE
