"""What became of users that were exported or imported, for a person and for a script."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rich.progress import TextColumn

from cli.console import note, out, print_json, printable
from cli.progress import shown
from schemas.export import UserExport, counts_of

REFUSALS_LISTED: Final = 1_000
REFUSALS_SHOWN: Final = 20

UserResult = Literal["exported", "imported", "unchanged", "refused"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A user of whom nothing is imported; `place` says where they stand in the source."""

    place: str
    reason: str
    detail: str


@dataclass(slots=True)
class TransferReport:
    """Counts of users by what became of them, and of the rows of those that were exported or imported.

    `skipped` counts by reason what of a user is left out, `joined` what stands in one entry with others.
    `unprocessed` are blobs that are in nobody's memory yet.
    """

    users: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    joined: int = 0
    unprocessed: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    def add(self, result: UserResult, memory: UserExport) -> None:
        """Count a user who was not refused."""
        self.users[result] += 1
        if result != "unchanged":
            self.rows.update(counts_of(memory))

    def refuse(self, refusal: Refusal) -> None:
        """Count a user, or a line that names none, and keep the first of them."""
        self.users["refused"] += 1
        self.reasons[refusal.reason] += 1
        if len(self.refusals) < REFUSALS_LISTED:
            self.refusals.append(refusal)

    def document(self, results: Iterable[UserResult]) -> dict[str, Any]:
        """For a script; it names also those results that no user came to."""
        return {
            "users": {result: self.users[result] for result in results},
            "rows": dict(self.rows),
            "refused_by": dict(self.reasons),
            "refused": [{"place": one.place, "reason": one.reason, "detail": one.detail} for one in self.refusals],
        }


@contextmanager
def counting_users(what: str, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A count of users on stderr while the work goes on; call what it yields for each."""
    with shown(TextColumn(what), TextColumn("{task.completed:,.0f} users"), quiet=quiet) as bar:
        task = bar.add_task(what, total=None)
        yield lambda: bar.advance(task)


def print_export(report: TransferReport, *, as_json: bool) -> None:
    """How much was written; on stderr, where the export itself may stand on stdout."""
    if as_json:
        print_json(report.document(["exported"]))
        return
    note(f"exported {_users(report.users['exported'])}: {_counted(report.rows)}")


def print_import(
    report: TransferReport, *, executed: bool, as_json: bool, more: Mapping[str, Any] | None = None
) -> None:
    """What was imported, or would be with `--execute`, and what was not, and why."""
    if as_json:
        print_json({"executed": executed, **report.document(["imported", "unchanged", "refused"]), **(more or {})})
        return
    words = "imported" if executed else "would import"
    rows = f": {_counted(report.rows)}" if report.rows else ""
    out().print(f"{words} {_users(report.users['imported'])}{rows}")
    if report.users["unchanged"]:
        out().print(f"there already: {_users(report.users['unchanged'])}")
    if report.joined:
        out().print(f"joined into another row of their slot: {report.joined:,}")
    if report.skipped:
        out().print(f"left out: {_counted(report.skipped)}")
    if report.users["refused"]:
        out().print(f"refused: {_users(report.users['refused'])} ({_counted(report.reasons)})")
    for one in report.refusals[:REFUSALS_SHOWN]:
        note(printable(f"{one.place}: {one.reason}: {one.detail}"), style="red")
    if report.users["refused"] > REFUSALS_SHOWN:
        note(f"and {report.users['refused'] - REFUSALS_SHOWN:,} more; --json lists them", style="red")
    if not executed and report.users["imported"]:
        note("this was a dry run; --execute does it")


def _users(count: int) -> str:
    return f"{count:,} {'user' if count == 1 else 'users'}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
