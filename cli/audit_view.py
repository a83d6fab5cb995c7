"""An audit as a table and as JSON."""

from typing import Any, Final

from rich.text import Text

from cli.audit_rules import Tally
from cli.console import out, plain_table, printable
from schemas.blob_states import MEANINGS, OUTCOMES

MISSING_SHOWN: Final = 20


def audit_document(tally: Tally) -> dict[str, Any]:
    """Counts of every outcome, also of those with none, and the first places that are missing."""
    return {
        "records": tally.records,
        "counts": {outcome: tally.counts[outcome] for outcome in OUTCOMES},
        "missing": [{"partition": partition, "offset": offset} for partition, offset in tally.missing],
        "held": dict(tally.held),
        "agrees": tally.agrees,
    }


def print_audit(tally: Tally) -> None:
    """A row for each outcome that occurs, the sum, and where the missing ones lie."""
    console = out()
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
