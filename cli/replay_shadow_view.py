"""What a replay into a shadow would take, for a person or a script."""

from typing import Any

from cli.console import note, out, plain_table, print_json
from cli.replay_shadow import ShadowPlan
from cli.replay_view import expected_document, expected_text


def print_shadow_plan(plan: ShadowPlan, name: str, currency: str, *, as_json: bool, executed: bool) -> None:
    """For a person, or for a script."""
    if as_json:
        print_json(_document(plan, name, currency) | {"executed": executed})
        return
    table = plain_table("topic", "partition", "new-offset", "end-offset")
    for number in sorted(plan.offsets.end):
        end = f"{plan.offsets.end[number]}{', and on' if plan.follows else ''}"
        table.add_row(plan.wanted.topic, f"{number}", f"{plan.offsets.begin[number]}", end)
    out().print(table)
    out().print(
        f"{plan.messages:,} messages of {plan.users:,} users, {plan.windows:,} windows of {plan.tokens:,} tokens; "
        f"{expected_text(plan.expected, currency)}"
    )
    if not executed:
        note("this was a dry run; --execute makes the shadow and works for it")


def _document(plan: ShadowPlan, name: str, currency: str) -> dict[str, Any]:
    return {
        "shadow": name,
        "topic": plan.wanted.topic,
        "follows": plan.follows,
        "partitions": [
            {"partition": number, "new_offset": plan.offsets.begin[number], "end_offset": plan.offsets.end[number]}
            for number in sorted(plan.offsets.end)
        ],
        "messages": plan.messages,
        "users": plan.users,
        "windows": plan.windows,
        "tokens": plan.tokens,
        "expected": expected_document(plan.expected, currency),
    }
