"""Results as lines for a person, and as one object for a script."""

from collections.abc import Sequence
from typing import Any, Final

from rich.text import Text

from cli.console import printable
from cli.doctor.findings import Level, Result, count_levels, exit_code

STYLES: Final[dict[Level, str]] = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
LEVEL_WIDTH: Final = 9
NAME_WIDTH: Final = 17


def lines_of(result: Result) -> list[Text]:
    """One line a finding: how it stands, the check, what was found and what to do."""
    lines = []
    for finding in result.findings:
        line = Text.assemble(
            (finding.level.ljust(LEVEL_WIDTH), STYLES[finding.level]),
            result.check.ljust(NAME_WIDTH),
            printable(finding.found),
        )
        if finding.fix is not None:
            line.append(f" → {printable(finding.fix)}", style="bold")
        lines.append(line)
    return lines


def summary_of(results: Sequence[Result]) -> str:
    counts = count_levels(results)
    return ", ".join(f"{count} {level}" for level, count in counts.items() if count)


def document_of(results: Sequence[Result], *, strict: bool) -> dict[str, Any]:
    return {
        "healthy": exit_code(results, strict=strict) == 0,
        "counts": count_levels(results),
        "findings": [
            {"check": result.check, "level": finding.level, "found": finding.found, "fix": finding.fix}
            for result in results
            for finding in result.findings
        ],
    }
