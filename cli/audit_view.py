"""An audit as tables and as JSON."""

from typing import Any, Final

from rich.console import Console
from rich.text import Text

from cli.audit import Report
from cli.audit_findings import CHECK_MEANINGS, Check, Sample
from cli.audit_rules import Tally
from cli.console import out, plain_table, printable
from schemas.blob_states import MEANINGS, OUTCOMES

MISSING_SHOWN: Final = 20
SAMPLES_SHOWN: Final = 5


def audit_document(report: Report) -> dict[str, Any]:
    """Counts of every outcome, also of those with none, the places that are missing, and all checks."""
    return {
        **({} if report.tally is None else _tally_document(report.tally)),
        "checks": {check.name: _check_document(check) for check in report.checks},
        "agrees": report.agrees,
    }


def _tally_document(tally: Tally) -> dict[str, Any]:
    return {
        "records": tally.records,
        "counts": {outcome: tally.counts[outcome] for outcome in OUTCOMES},
        "missing": [{"partition": partition, "offset": offset} for partition, offset in tally.missing],
        "held": dict(tally.held),
    }


def _check_document(check: Check) -> dict[str, Any]:
    return {
        "looked_at": check.looked_at,
        "wrong": check.wrong,
        "unsettled": check.unsettled,
        "samples": [
            {"detail": one.detail, "project_id": one.project_id, "user_id": one.user_id, "place": one.place}
            for one in check.samples
        ],
    }


def print_audit(report: Report) -> None:
    """A row for each outcome that occurs, the sum, where the missing ones lie, and a row for each check."""
    console = out()
    if report.tally is not None:
        _print_tally(console, report.tally)
    table = plain_table("check", "looked at", "wrong", "")
    table.columns[1].justify = table.columns[2].justify = "right"
    for check in report.checks:
        style = "bold red" if check.wrong else ""
        meaning = CHECK_MEANINGS[check.name]
        if check.unsettled:
            meaning += f" ({check.unsettled:,} cannot be told)"
        table.add_row(
            Text(check.name, style), f"{check.looked_at:,}", Text(f"{check.wrong:,}", style), Text(meaning, "dim")
        )
    console.print(table)
    for check in report.checks:
        for sample in check.samples[:SAMPLES_SHOWN]:
            console.print(Text(f"{check.name}: {described(sample)}", "bold red"))
        if check.wrong > SAMPLES_SHOWN:
            console.print(Text(f"{check.name}: and {check.wrong - SAMPLES_SHOWN:,} more", "bold red"))


def described(sample: Sample) -> str:
    """In one line: whose it is, where it lies, and what is wrong."""
    user = f"{sample.project_id}/{sample.user_id}" if sample.user_id is not None else None
    return printable(" ".join(part for part in (user, sample.place, sample.detail) if part))


def _print_tally(console: Console, tally: Tally) -> None:
    table = plain_table("outcome", "records", "")
    table.columns[1].justify = "right"
    for outcome in OUTCOMES:
        count = tally.counts[outcome]
        if count:
            style = "bold red" if outcome == "missing" else ""
            table.add_row(Text(outcome, style), Text(f"{count:,}", style), Text(MEANINGS[outcome], "dim"))
    table.add_section()
    table.add_row("sum", f"{tally.records:,}")
    console.print(table)
    if tally.held:
        reasons = ", ".join(f"{printable(reason)} {count:,}" for reason, count in sorted(tally.held.items()))
        console.print(Text(f"held windows, by reason: {reasons}", "dim"))
    if tally.missing:
        places = ", ".join(f"{partition}/{offset}" for partition, offset in tally.missing[:MISSING_SHOWN])
        more = f" and {len(tally.missing) - MISSING_SHOWN:,} more" if len(tally.missing) > MISSING_SHOWN else ""
        console.print(Text(f"missing (partition/offset): {places}{more}", "bold red"))
