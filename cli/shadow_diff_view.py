"""What a promotion would change, for a person or a script; only users that are shown are kept in memory."""

import heapq
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any, Final

from rich.text import Text

from cli.console import note, out, plain_table, print_json, printable
from cli.shadow_diff import Comparison
from cli.shadow_diff_rules import DiffCounts, SlotDiff, UserDiff, sampled

# Of those whose memory changes most.
SHOWN_USERS: Final = 20
SHOWN_CHARACTERS: Final = 200
# A few of each user, so that one does not take all the room.
SAMPLES_OF_A_USER: Final = 3

_HEADS: Final = ("added", "removed", "changed", "same", "kept", "events", "parked")
_COLOURS: Final = {"added": "green", "removed": "red", "changed": "yellow", "kept": "cyan"}
_MEANINGS: Final = {
    "kept": "was edited by hand, and stays as it is",
    "parked": "only the shadow has parked",
}


async def print_json_lines(comparison: Comparison, users: AsyncIterator[UserDiff], samples: int) -> None:
    """An object for each user, then their sum."""
    total = DiffCounts()
    async for user in users:
        total += user.counts
        print_json(user_document(user, samples))
    shadow = comparison.shadow
    print_json(
        {
            "shadow": shadow.name,
            "generation": shadow.generation,
            "sum": asdict(total),
            "promoted_users": comparison.counts.promoted_users,
            "unknown_users": comparison.unknown,
        }
    )


def user_document(user: UserDiff, samples: int) -> dict[str, Any]:
    """One user, for a script."""
    counts = asdict(user.counts)
    del counts["users"]
    return {
        "project_id": user.project_id,
        "user_id": user.user_id,
        **counts,
        "parked_blobs": [{"blob_id": blob_id, "reason": reason} for blob_id, reason in user.parked[:samples]],
        "samples": [asdict(slot) for slot in sampled(user, samples)],
    }


async def print_report(comparison: Comparison, users: AsyncIterator[UserDiff], samples: int) -> None:
    """Users whose memory changes most, the sum of all, and samples side by side."""
    total, shown = DiffCounts(), list[tuple[int, int, UserDiff]]()
    left: list[tuple[UserDiff, SlotDiff]] = []
    number = 0
    async for user in users:
        number += 1
        total += user.counts
        # The first of equal ones stay.
        entry = (user.counts.differences, -number, user)
        (heapq.heappush if len(shown) < SHOWN_USERS else heapq.heappushpop)(shown, entry)
        if len(left) < samples:
            left += [(user, slot) for slot in sampled(user, SAMPLES_OF_A_USER)][: samples - len(left)]
    if not number:
        out().print("the shadow has no user who is not promoted")
    else:
        _print_users([entry[2] for entry in sorted(shown, reverse=True)], total)
        _print_samples(left)
    if comparison.counts.promoted_users:
        note(f"{comparison.counts.promoted_users:,} users are promoted already, and not compared")
    if comparison.unknown:
        note(f"{comparison.unknown:,} users of live memory are not in the shadow, and stay as they are")


def _print_users(users: list[UserDiff], total: DiffCounts) -> None:
    table = plain_table("user", *_HEADS)
    for column in table.columns[1:]:
        column.justify = "right"
    for user in users:
        table.add_row(Text(printable(f"{user.project_id}/{user.user_id}"), "cyan"), *_cells(user.counts))
    if total.users > len(users):
        table.add_row(f"and {total.users - len(users):,} more", *("" for _ in _HEADS))
    table.add_section()
    table.add_row(f"{total.users:,} users", *_cells(total))
    out().print(table)
    for head, meaning in _MEANINGS.items():
        if getattr(total, head):
            note(f"{head}: {meaning}")


def _cells(counts: DiffCounts) -> tuple[str, ...]:
    return (
        *(f"{getattr(counts, head):,}" for head in ("added", "removed", "changed", "same", "kept")),
        f"{counts.live_events:,} → {counts.shadow_events:,}",
        f"{counts.parked:,}",
    )


def _print_samples(samples: list[tuple[UserDiff, SlotDiff]]) -> None:
    if not samples:
        return
    table = plain_table("user", "slot", "", "live memory", "shadow")
    table.show_lines = False
    for user, slot in samples:
        table.add_row(
            Text(printable(user.user_id), "cyan"),
            printable(f"{slot.topic}/{slot.sub_topic}"),
            Text(slot.kind, _COLOURS.get(slot.kind, "")),
            _shortened(slot.live),
            _shortened(slot.shadow),
        )
    out().print(table)


def _shortened(text: str | None) -> str:
    if text is None:
        return "–"
    plain = printable(text)
    return plain if len(plain) <= SHOWN_CHARACTERS else f"{plain[: SHOWN_CHARACTERS - 1]}…"
