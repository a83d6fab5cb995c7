"""A report on an erasure, for a person."""

from datetime import datetime

from rich.text import Text

from cli.console import note, out, plain_table, printable, short_time
from schemas.erasure import ErasureReport


def print_report(report: ErasureReport) -> None:
    """What was found and removed, what still holds data, and what is not ours."""
    console = out()
    done = "forgotten" if report.is_executed else "would be forgotten"
    console.print(Text.assemble((printable(report.user_id), "bold"), f" {done}", (f"  {report.project_id}", "dim")))
    found = [(row.table, row.found, row.left) for row in report.tables if row.found or row.left]
    found += [
        (name, count, 0)
        for name, count in (("buffered", report.buffer.blobs), ("windows", report.buffer.windows))
        if count
    ]
    if found:
        table = plain_table("where", "found", "left") if report.is_executed else plain_table("where", "found")
        for name, count, left in found:
            cells = (name, f"{count:,}", f"{left:,}")
            table.add_row(*(cells if report.is_executed else cells[:2]))
        console.print(table)
    else:
        console.print("  nothing is left of them")
    for stage in report.stages:
        if not stage.is_done:
            note(f"{stage.stage}: {stage.detail}", style="yellow")
    table = plain_table("topic", "holds until", "")
    for retained in report.retained:
        table.add_row(retained.topic, _until(retained.gone_by, "for ever"), retained.fix or "")
    for compacted in report.compacted:
        table.add_row(compacted.topic, _until(compacted.gone_by, "it is compacted"), compacted.fix or "")
    console.print(table)
    for other in report.elsewhere:
        console.print(Text(f"not ours: {other.what}: {other.why}", "dim"))
    if not report.is_executed:
        note("nothing was changed; --execute does it")


def _until(moment: datetime | None, never: str) -> str:
    return never if moment is None else short_time(moment)
