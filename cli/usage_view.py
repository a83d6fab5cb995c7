"""What was spent as a table and as JSON."""

from dataclasses import asdict
from typing import Any, Final

from rich.text import Text

from cli.console import note, out, plain_table, printable
from cli.usage import UsageReport
from storage.usage import UsageSum

FORGOTTEN: Final = "(forgotten)"
# Of a key that has no value.
NOBODY: Final = {"shadow": "(live memory)"}
NO_CALLS: Final = "0 calls: no endpoint was asked; the offline extractor takes facts by rules."


def report_document(report: UsageReport) -> dict[str, Any]:
    """A report for a script; `sum`, and `sum_live` without what was spent for shadows, have the same keys as a row."""
    return {
        "by": report.by,
        "since": report.period.first,
        "until": report.period.last,
        "currency": report.currency,
        "rows": [{**line.key, **_numbers(line)} for line in report.lines],
        "sum": _numbers(report.total),
        "sum_live": _numbers(report.live),
    }


def print_report(report: UsageReport) -> None:
    """A line for each day, project, user or model, and the sum."""
    if not report.lines:
        note(f"nothing was extracted from {report.period.first} to {report.period.last}")
        return
    console = out()
    keys = [name.removesuffix("_id") for name in report.lines[0].key]
    # What is rare takes no room where it did not happen.
    has_vain = report.total.unfinished > 0
    table = plain_table(*keys, *(head for head, _ in _cells(report.total, report.currency, has_vain)))
    table.padding = (0, 0, 0, 1)
    for number, column in enumerate(table.columns):
        column.justify = "left" if number < len(keys) else "right"
        column.overflow = "fold"
    for line in report.lines:
        named = (NOBODY.get(key, FORGOTTEN) if value is None else str(value) for key, value in line.key.items())
        names = [Text(printable(name), "cyan") for name in named]
        table.add_row(*names, *(cell for _, cell in _cells(line, report.currency, has_vain)))
    table.add_section()
    total = (cell for _, cell in _cells(report.total, report.currency, has_vain))
    table.add_row("sum", *("" for _ in keys[1:]), *total)
    console.print(table)
    if not report.total.usage.completions and not report.total.usage.embedding_calls:
        note(NO_CALLS)
    if report.by != "shadow" and report.live != report.total:
        spent = report.total.cost - report.live.cost
        note(f"with what was spent for shadows ({spent:,.4f} {printable(report.currency)}): see --by shadow.")
    if report.total.unpriced_tokens:
        note(f"{report.total.unpriced_tokens:,} tokens had no price and are not in the cost: see prices.models.")


def _cells(line: UsageSum, currency: str, has_vain: bool) -> list[tuple[str, str]]:
    """Head and text of each cell."""
    usage, attempts = line.usage, line.extractions + line.unfinished
    cost = "?" if line.unpriced_tokens and not line.cost else f"{line.cost:,.4f}"
    return [
        ("extracted", f"{line.extractions:,}"),
        *([("in vain", f"{line.unfinished:,}")] if has_vain else []),
        ("calls", f"{usage.completions + usage.embedding_calls:,}"),
        ("prompt", f"{usage.prompt_tokens:,}"),
        ("cached", f"{usage.cached_tokens:,}"),
        ("completion", f"{usage.completion_tokens:,}"),
        ("embedded", f"{usage.embedding_tokens:,}"),
        ("s each", f"{usage.latency_ms / 1000 / attempts:,.1f}" if attempts else ""),
        (printable(currency), cost),
    ]


def _numbers(line: UsageSum) -> dict[str, Any]:
    usage = asdict(line.usage)
    del usage["models"]
    return {
        "extractions": line.extractions,
        "unfinished": line.unfinished,
        **usage,
        "cost": float(round(line.cost, 10)),
        "unpriced_tokens": line.unpriced_tokens,
    }
