"""What a replay would do, or has done, for a person or a script."""

from collections.abc import Mapping
from typing import Any, Final

from cli.console import note, out, plain_table, print_json
from cli.replay import Kind, Plan
from cli.replay_costs import Expected
from schemas.blob_states import MEANINGS

KINDS: Final[Mapping[Kind, str]] = {
    "message": "messages that no stage knows",
    "window": "windows with something that was never applied",
    "forget": "forgets that the database does not know",
    "unreadable": "records that cannot be read; they will be parked",
}
LEFT_OUT: Final[Mapping[str, str]] = {
    **{str(outcome): meaning for outcome, meaning in MEANINGS.items()},
    "unread": "not yet read by the buffer agent; they come by themselves",
    "parked": "in dead-letters; `memostream dead-letters redrive` sends them again",
    "conflict": "parked, for another blob has the same id",
}


def plan_document(plan: Plan, currency: str) -> dict[str, Any]:
    """For a script; numbers only."""
    return {
        "topic": plan.wanted.topic,
        "partitions": [
            {
                "partition": number,
                "new_offset": plan.offsets.begin[number],
                "end_offset": plan.offsets.end[number],
                "send": plan.records_of(number),
            }
            for number in sorted(plan.offsets.end)
        ],
        "left_out": dict(plan.counts),
        "send": dict(plan.sent),
        "users": plan.users,
        "windows": plan.windows,
        "tokens": plan.tokens,
        "expected": expected_document(plan.expected, currency),
    }


def expected_document(expected: Expected, currency: str) -> dict[str, Any]:
    """What it is expected to take, for a script."""
    return {
        "completions": expected.completions,
        "embedding_calls": expected.embedding_calls,
        "tokens": expected.tokens,
        "cost": None if expected.cost is None else float(expected.cost),
        "currency": currency,
        "averages_of": expected.by,
    }


def expected_text(expected: Expected, currency: str) -> str:
    """The same for a person."""
    if not expected.by:
        return "calls and cost are not known: nothing was extracted in the last 30 days"
    cost = "unknown, for a model has no price" if expected.cost is None else f"{expected.cost:.2f} {currency}"
    return (
        f"{expected.completions:,} completions, {expected.embedding_calls:,} calls for embeddings, "
        f"{expected.tokens:,} tokens, cost {cost} (by {expected.by:,} extractions of the last 30 days)"
    )


def print_plan(plan: Plan, currency: str) -> None:
    table = plain_table("topic", "partition", "new-offset", "end-offset", "to send")
    for number in sorted(plan.offsets.end):
        begin, end = plan.offsets.begin[number], plan.offsets.end[number]
        table.add_row(plan.wanted.topic, f"{number}", f"{begin}", f"{end}", f"{plan.records_of(number):,}")
    out().print(table)
    lines = plain_table("", "records", "")
    for kind, meaning in KINDS.items():
        if plan.sent.get(kind):
            lines.add_row("send", f"{plan.sent[kind]:,}", meaning)
    for outcome, count in sorted(plan.counts.items(), key=lambda item: -item[1]):
        lines.add_row("leave out", f"{count:,}", f"{outcome}: {LEFT_OUT.get(outcome, outcome)}")
    out().print(lines)
    if not plan.records:
        out().print("there is nothing to replay")
        return
    taken = expected_text(plan.expected, currency)
    out().print(f"{plan.users:,} users, {plan.windows:,} windows of {plan.tokens:,} tokens; {taken}")


def print_done(plan: Plan, sent: int | None, currency: str, *, as_json: bool) -> None:
    """The plan, and how many records were sent; None for a dry run."""
    if as_json:
        print_json({**plan_document(plan, currency), "executed": sent is not None, "sent": sent or 0})
        return
    print_plan(plan, currency)
    if sent is not None:
        out().print(f"sent: {sent:,}")
        note("`memostream flush --all` closes the windows that are not full, and waits")
    elif plan.records:
        note("this was a dry run; --execute does it")
