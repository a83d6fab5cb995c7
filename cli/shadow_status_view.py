"""How far shadows are, for a person or a script."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from cli.console import note, out, plain_table, printable, short_time
from cli.shadow_status import ShadowStatus

UNKNOWN = "?"


def status_document(status: ShadowStatus, currency: str) -> dict[str, Any]:
    """One shadow, for a script; offsets by partition."""
    shadow, spent = status.shadow, status.spent
    return {
        "name": shadow.name,
        "generation": shadow.generation,
        "state": shadow.state,
        "source": shadow.source,
        "created_at": shadow.created_at,
        "begin_offsets": {str(number): offset for number, offset in shadow.begin_offsets.items()},
        "end_offsets": None
        if shadow.end_offsets is None
        else {str(number): offset for number, offset in shadow.end_offsets.items()},
        "of_project": shadow.of_project,
        "of_user_hash": shadow.of_user_hash,
        "extractor": asdict(shadow.extractor),
        "stages": [asdict(stage) for stage in status.stages],
        "workers": status.workers,
        "behind": status.behind,
        **asdict(status.counts),
        "calls": spent.usage.completions + spent.usage.embedding_calls,
        "tokens": spent.usage.tokens,
        "cost": float(round(spent.cost, 10)),
        "unpriced_tokens": spent.unpriced_tokens,
        "max_cost": None if shadow.max_cost is None else float(shadow.max_cost),
        "currency": currency,
    }


def print_statuses(found: Sequence[ShadowStatus], currency: str) -> None:
    """A line each."""
    if not found:
        out().print("there is no shadow")
        return
    table = plain_table("shadow", "gen", "state", "workers", "behind", "users", "promoted", "windows", "parked", "cost")
    for status in found:
        counts = status.counts
        table.add_row(
            printable(status.shadow.name),
            f"{status.shadow.generation}",
            status.shadow.state,
            f"{status.workers}",
            _number(status.behind),
            f"{counts.users:,}",
            f"{counts.promoted_users:,}",
            f"{counts.windows:,}",
            f"{counts.parked:,}",
            _cost(status, currency),
        )
    for column in table.columns[3:]:
        column.justify = "right"
    out().print(table)
    note("`memostream replay status NAME` says more of one")


def print_status(status: ShadowStatus, currency: str) -> None:
    """All that is known of one shadow."""
    table = plain_table("shadow", printable(status.shadow.name))
    for name, value in _lines(status, currency):
        table.add_row(name, printable(value))
    out().print(table)
    if status.spent.unpriced_tokens:
        note(f"{status.spent.unpriced_tokens:,} tokens had no price and are not in the cost: see prices.models.")


def _lines(status: ShadowStatus, currency: str) -> Iterator[tuple[str, str]]:
    shadow, counts, spent = status.shadow, status.counts, status.spent
    yield "generation", f"{shadow.generation}"
    yield "state", shadow.state
    yield "made", f"{short_time(shadow.created_at)} UTC"
    yield "from", shadow.source
    for number, begin in sorted(shadow.begin_offsets.items()):
        end = "on" if shadow.end_offsets is None else f"to before {shadow.end_offsets.get(number, 0)}"
        yield f"partition {number}", f"from {begin} {end}"
    yield "project", "all" if shadow.of_project is None else shadow.of_project
    yield "user", "all" if shadow.of_user_hash is None else f"one, whose id has the hash {shadow.of_user_hash[:12]}"
    extractor = shadow.extractor
    yield "extractor", f"{extractor.name} {extractor.version}, {extractor.model}, prompts {extractor.prompt_hash}"
    for stage in status.stages:
        yield stage.group, f"{_number(stage.behind)} records of {stage.topic} behind, {stage.members} members"
    yield "users", f"{counts.users:,}, of whom {counts.promoted_users:,} are promoted"
    yield "windows", f"{counts.windows:,}, with {counts.applied:,} units applied and {counts.parked:,} parked"
    yield "dead letters", f"{counts.dead_letters:,} that wait for a promotion"
    calls = spent.usage.completions + spent.usage.embedding_calls
    yield "spent", f"{calls:,} calls, {spent.usage.tokens:,} tokens, {_cost(status, currency)}"


def _cost(status: ShadowStatus, currency: str) -> str:
    limit = status.shadow.max_cost
    spent = f"{status.spent.cost:,.2f}"
    return printable(f"{spent} {currency}" if limit is None else f"{spent} of {limit:,.2f} {currency}")


def _number(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}"
