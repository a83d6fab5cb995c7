"""What a promotion did, or would do, for a person or a script."""

from collections.abc import Mapping
from typing import Any, Final

from cli.console import note, out, print_json, printable
from cli.promoting import PromotionReport
from storage.promotion_coverage import LeftReason

REASONS: Final[Mapping[LeftReason, str]] = {
    "imported": "memory came by an import, which is on no topic",
    "out-of-range": "memory rests on records that the shadow does not read",
    "missing": "a record that live memory rests on is not in the shadow: retention may have taken it before",
    "deleted": "a blob that was deleted is in the shadow",
    "other-extractor": "the configuration of the project has changed since the shadow extracted",
    "too-large": "a change would not fit a record of the change topics: raise buffer.max_blob_bytes everywhere",
}


def report_document(report: PromotionReport) -> dict[str, Any]:
    """For a script."""
    return {
        "shadow": report.shadow,
        "executed": report.executed,
        "state": report.state,
        "promoted": report.promoted,
        "already": report.already,
        "later": report.later,
        "left": dict(sorted(report.left.items())),
        "left_users": [
            {"project_id": user[0], "user_id": user[1], "reason": reason} for user, reason in report.left_users
        ],
    }


def print_report(report: PromotionReport, *, as_json: bool) -> None:
    """For a script, or for a person."""
    if as_json:
        print_json(report_document(report))
        return
    console = out()
    console.print(f"{'promoted' if report.executed else 'to be promoted now'}: {report.promoted:,}")
    if report.already:
        console.print(f"promoted before: {report.already:,}")
    if report.later:
        console.print(f"later: {report.later:,}, for the shadow has not read all that their memory rests on")
    for reason, count in sorted(report.left.items(), key=lambda item: -item[1]):
        console.print(f"left as they are: {count:,}, {reason}: {REASONS[reason]}")
    for (project_id, user_id), reason in report.left_users:
        note(printable(f"{user_id} in project {project_id}: {reason}"))
    if report.left.total() > len(report.left_users):
        note(f"and {report.left.total() - len(report.left_users):,} more")
    if report.state == "promoted":
        note(
            f"shadow {report.shadow} is promoted: its workers end, and `memostream replay discard` removes what is left"
        )
    elif report.executed:
        note(f"shadow {report.shadow} is promoted for these users; without --user and --project for all")
    else:
        note("this was a dry run; --execute does it")
