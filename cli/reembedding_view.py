"""Re-embedding for a person or a script."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cli.console import note, out, plain_table, print_json, printable
from cli.reembedding import Status
from cli.reembedding_rules import Plan, in_use
from schemas.memory import EmbeddingModel
from storage.reembedding_progress import Progress


def print_plan(plan: Plan, currency: str, *, as_json: bool) -> None:
    """What a run would embed."""
    total = plan.total
    if as_json:
        print_json(
            {
                "executed": False,
                "target": asdict(plan.target),
                "is_begun": plan.is_begun,
                "texts": {table: progress.missing for table, progress in plan.by_table.items()},
                "calls": plan.calls,
                "tokens": total.tokens,
                "cost": None if plan.cost is None else float(plan.cost),
                "currency": currency,
            }
        )
        return
    console = out()
    begun = "would go on" if plan.is_begun else "would begin"
    console.print(f"{begun} to embed by {printable(str(plan.target))}:")
    table = plain_table("table", "texts", "tokens, at most")
    for name, progress in plan.by_table.items():
        table.add_row(name, f"{progress.missing:,}", f"{progress.tokens:,}")
    table.add_row("sum", f"{total.missing:,}", f"{total.tokens:,}")
    console.print(table)
    cost = f"no price of {plan.target.name} in prices.models" if plan.cost is None else f"{plan.cost:,.4f} {currency}"
    calls = "1 call" if plan.calls == 1 else f"{plan.calls:,} calls"
    console.print(f"{calls}, {printable(cost)}")
    note("this was a dry run; `memostream reembed run --execute` does it")


def print_status(status: Status, *, as_json: bool) -> None:
    """What is in use, what is to follow, and how far that is."""
    stored, total = status.stored, sum(status.by_table.values(), Progress())
    current = in_use(stored)
    if as_json:
        print_json(
            {
                "in_use": {"name": stored.model, "dimension": stored.dimension},
                "to_follow": None if stored.next_model is None else asdict(stored.next_model),
                "is_ready": stored.is_ready,
                "runs": status.runs,
                "tables": {table: _counts(progress) for table, progress in status.by_table.items()},
            }
        )
        return
    console = out()
    console.print(f"in use: {printable(str(current)) if current else f'no model yet, {stored.dimension} dimensions'}")
    if stored.next_model is None:
        console.print("no re-embedding is under way")
        return
    ready = "ready: processes may start with it" if stored.is_ready else "not ready"
    console.print(f"to follow: {printable(str(stored.next_model))}, {ready}")
    table = plain_table("table", "texts", "embedded", "missing", "refused")
    for name, progress in (*status.by_table.items(), ("sum", total)):
        table.add_row(name, *(f"{count:,}" for count in _counts(progress).values()))
    console.print(table)
    console.print(f"{status.runs} runs are embedding" if status.runs != 1 else "1 run is embedding")


def print_ended(model: EmbeddingModel, *, done: str, would: str, executed: bool, as_json: bool) -> None:
    """What `finish` or `abandon` did, or would do."""
    if as_json:
        print_json({"executed": executed, "model": asdict(model)})
        return
    out().print(f"{done if executed else would} {printable(str(model))}")
    if not executed:
        note("this was a dry run; --execute does it")


def _counts(progress: Progress) -> Mapping[str, Any]:
    return {
        "texts": progress.texts,
        "embedded": progress.embedded,
        "missing": progress.missing,
        "refused": progress.refused,
    }
