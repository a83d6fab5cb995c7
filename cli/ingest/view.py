"""What a backfill came to, for a person or a script."""

from typing import Any

from cli.console import note, out, print_json, short_time
from cli.ingest.records import Reading, Tally, moment_of
from cli.ingest.running import IngestReport


def print_report(report: IngestReport, reading: Reading, *, dry_run: bool, as_json: bool) -> None:
    """The summary on stdout; what it means, where something is wrong, on stderr."""
    if as_json:
        print_json(report_document(report, dry_run=dry_run))
    else:
        out().print(summary(report, dry_run=dry_run))
    for remark in remarks(report.tally, in_order=reading.in_order):
        note(remark, style="yellow")


def report_document(report: IngestReport, *, dry_run: bool) -> dict[str, Any]:
    """`refusals` are the first ones; `by_reason` counts all."""
    tally = report.tally
    return {
        "dry_run": dry_run,
        "records": tally.records,
        "users": report.users,
        "first": _time(tally.first_ms),
        "last": _time(tally.last_ms),
        "untimed": tally.untimed,
        "late": tally.late,
        "sent": report.sent,
        "skipped": report.skipped,
        "refused": tally.refusals.count,
        "by_reason": dict(tally.refusals.reasons),
        "refusals": [
            {"place": place, "reason": error.reason, "detail": error.detail} for place, error in tally.refusals.first
        ],
        "ignored": dict(tally.ignored),
        "seconds": round(report.seconds, 3),
        "rate_per_s": round(report.rate_per_s, 1),
    }


def summary(report: IngestReport, *, dry_run: bool) -> str:
    """One line."""
    tally = report.tally
    users = f"{report.users:,} user{'' if report.users == 1 else 's'}"
    if dry_run:
        parts = [f"would send {_records(tally.records)} of {users}"]
    else:
        parts = [f"sent {_records(report.sent)} of {users} ({report.rate_per_s:,.0f}/s)"]
    if tally.first_ms is not None and tally.last_ms is not None:
        said = [short_time(moment_of(at_ms)) for at_ms in (tally.first_ms, tally.last_ms)]
        parts.append(f"said from {said[0]} to {said[1]}")
    if report.skipped:
        parts.append(f"{report.skipped:,} were sent before")
    if tally.refusals.count:
        parts.append(f"refused {tally.refusals.count:,}")
    if tally.ignored:
        parts.append(f"left out {tally.ignored.total():,}")
    return ", ".join(parts)


def remarks(tally: Tally, *, in_order: bool) -> list[str]:
    """What the caller should know, a sentence each."""
    found = []
    if tally.untimed:
        found.append(
            f"{_records(tally.untimed)} without a time: facts are dated when they were sent; name it with --time-field"
        )
    if tally.late and not in_order:
        found.append(
            f"{_records(tally.late)} older than one before of the same user: they join its window, whatever lies "
            "between; --sort sends in the order of time"
        )
    return found


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else moment_of(at_ms).isoformat()
