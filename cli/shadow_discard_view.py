"""What a shadow's end removes, for a person or a script."""

from typing import Any

from cli.console import note, out, plain_table, print_json, printable
from cli.shadow_discard import Discard


def discard_document(found: Discard) -> dict[str, Any]:
    """For a script."""
    counts = found.counts
    return {
        "name": found.shadow.name,
        "generation": found.shadow.generation,
        "state": found.shadow.state,
        "users": counts.users - counts.promoted_users,
        "kept_users": counts.promoted_users,
        "windows": counts.windows,
        "dead_letters": counts.dead_letters,
        "topics": list(found.topics),
        "groups": list(found.groups),
        "executed": found.is_executed,
        "removed_users": found.removed_users,
    }


def print_discard(found: Discard, *, as_json: bool) -> None:
    """What goes, or has gone."""
    if as_json:
        print_json(discard_document(found))
        return
    counts = found.counts
    table = plain_table("remove" if not found.is_executed else "removed", "")
    table.add_row("users", f"{counts.users - counts.promoted_users:,}, with {counts.windows:,} windows")
    for kind, names in (("topic", found.topics), ("group", found.groups)):
        for name in names:
            table.add_row(kind, printable(name))
    out().print(table)
    if counts.promoted_users:
        note(f"{counts.promoted_users:,} users were promoted, and keep that memory")
    if not found.is_executed:
        note("this was a dry run; --execute does it")
