"""What became of users, in words and as JSON: every refusal counts, the first of them are named."""

import orjson
import pytest

from cli.transfer_report import REFUSALS_LISTED, REFUSALS_SHOWN, Refusal, TransferReport, print_import

MANY = REFUSALS_LISTED + 5


def refused(count: int) -> TransferReport:
    report = TransferReport()
    for number in range(count):
        report.refuse(Refusal(f"line {number}", "foreign", "is no export\x1b[31m"))
    return report


def test_all_refusals_are_counted_and_so_many_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    print_import(refused(MANY), executed=True, as_json=True)
    document = orjson.loads(capsys.readouterr().out)
    assert document["refused_by"] == {"foreign": MANY}
    assert document["users"] == {"imported": 0, "unchanged": 0, "refused": MANY}
    assert len(document["refused"]) == REFUSALS_LISTED


def test_a_person_reads_the_first_refusals_and_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_import(refused(MANY), executed=True, as_json=False)
    shown = capsys.readouterr()
    assert f"refused: {MANY:,} users (foreign {MANY:,})" in shown.out
    assert shown.err.count("foreign: is no export") == REFUSALS_SHOWN
    assert f"and {MANY - REFUSALS_SHOWN} more; --json lists them" in shown.err
    assert "\x1b[31m" not in shown.err


def test_a_dry_run_says_that_it_was_one_only_where_there_is_something_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    report = TransferReport()
    print_import(report, executed=False, as_json=False)
    assert "dry run" not in capsys.readouterr().err
    report.users["imported"] = 1
    print_import(report, executed=False, as_json=False)
    shown = capsys.readouterr()
    assert (shown.out, shown.err.strip()) == ("would import 1 user\n", "this was a dry run; --execute does it")
