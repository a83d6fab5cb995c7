"""What was spent as a table and as JSON."""

from dataclasses import asdict
from typing import Any, Final

from rich.text import Text

from cli.console import note, out, plain_table, printable
from cli.usage import UsageReport
from storage.usage import UsageSum

FORGOTTEN: Final = "(forgotten)"
NO_CALLS: Final = "0 calls: no endpoint was asked; the offline extractor takes facts by rules."
HEADS: Final = (
    "extrac-\ntions",
    "in vain",
    "comple-\ntions",
    "embed-\ndings",
    "prompt\ntokens",
    "of these\ncached",
    "completion\ntokens",
    "embedded\ntokens",
    "seconds\neach",
)


def report_document(report: UsageReport) -> dict[str, Any]:
    """A report for a script; `sum` has the same keys as a row."""
    return {
        "by": report.by,
        "since": report.period.first,
        "until": report.period.last,
        "currency": report.currency,
        "rows": [{**line.key, **_numbers(line)} for line in report.lines],
        "sum": _numbers(report.total),
    }


def print_report(report: UsageReport) -> None:
    """A line for each day, project, user or model, and the sum."""
    if not report.lines:
        note(f"nothing was extracted from {report.period.first} to {report.period.last}")
        return
    console = out()
    keys = tuple(report.lines[0].key)
    table = plain_table(*(name.removesuffix("_id") for name in keys), *HEADS, f"cost\n{printable(report.currency)}")
    for column in table.columns[len(keys) :]:
        column.justify = "right"
    for line in report.lines:
        names = [Text(printable(str(FORGOTTEN if value is None else value)), "cyan") for value in line.key.values()]
        table.add_row(*names, *_cells(line))
    table.add_section()
    table.add_row("sum", *("" for _ in keys[1:]), *_cells(report.total))
    console.print(table)
    if not report.total.usage.completions and not report.total.usage.embedding_calls:
        note(NO_CALLS)
    if report.total.unpriced_tokens:
        note(f"{report.total.unpriced_tokens:,} tokens had no price and are not in the cost: see prices.models.")


def _cells(line: UsageSum) -> list[str]:
    usage, attempts = line.usage, line.extractions + line.unfinished
    counts = (
        line.extractions,
        line.unfinished,
        usage.completions,
        usage.embedding_calls,
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.completion_tokens,
        usage.embedding_tokens,
    )
    seconds = f"{usage.latency_ms / 1000 / attempts:,.1f}" if attempts else ""
    cost = "?" if line.unpriced_tokens and not line.cost else f"{line.cost:,.4f}"
    return [*(f"{count:,}" for count in counts), seconds, cost]


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
