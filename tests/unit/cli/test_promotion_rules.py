"""Whether a shadow may be promoted, and what is said of it afterwards."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cli.promoting import LEFT_SHOWN, PromotionReport
from cli.promotion_rules import check_extractor, check_made, check_worked_for
from cli.promotion_view import print_report, report_document
from cli.shadow_progress import ShadowProgress
from schemas.errors import ConfigurationError, Conflict
from schemas.memory import ExtractorIdentity
from storage.promotion_coverage import Barrier
from storage.shadows import Shadow, Source

OURS = ExtractorIdentity("openai", "3", "large", "0123456789abcdef")
OTHER = replace(OURS, model="small")
SHADOW = Shadow(
    name="better",
    topic_prefix="",
    source="chat-messages",
    begin_offsets={0: 0},
    end_offsets=None,
    of_project=None,
    of_user_hash=None,
    max_cost=None,
    extractor=OURS,
    generation=1,
    state="running",
    tails_before=None,
    tails_closed={},
    created_at=datetime(2026, 11, 30, tzinfo=UTC),
)


def progress(behind: int = 0, *, is_worked_for: bool = False, source: Source = "chat-messages") -> ShadowProgress:
    return ShadowProgress(Barrier(source, source, {0: 0}, None, {}), behind, is_worked_for)


def test_a_shadow_whose_making_was_cut_short_is_refused() -> None:
    check_made(SHADOW)
    with pytest.raises(Conflict, match="not made yet"):
        check_made(replace(SHADOW, state="creating"))


def test_live_memory_must_be_extracted_as_the_shadow_was() -> None:
    check_extractor(SHADOW, OURS, [])
    check_extractor(SHADOW, OURS, [("host-1", OURS)])
    with pytest.raises(ConfigurationError, match=r"model large.*model small.*restart them"):
        check_extractor(SHADOW, OTHER, [("host-1", OURS)])


def test_live_workers_with_another_extractor_or_an_unknown_one_are_named() -> None:
    with pytest.raises(Conflict, match=r"host-2 \(.*model small.*\), host-3 \(an older memostream\)") as raised:
        check_extractor(SHADOW, OURS, [("host-1", OURS), ("host-2", OTHER), ("host-3", None)])
    assert "host-1" not in str(raised.value)


def test_a_shadow_with_something_to_do_needs_a_worker() -> None:
    check_worked_for(SHADOW, progress(5, is_worked_for=True), 3)
    with pytest.raises(Conflict, match=r"5 records wait.*--into shadow --shadow better --execute"):
        check_worked_for(SHADOW, progress(5), 3)


def test_what_is_buffered_needs_a_worker_while_anybody_is_to_be_promoted() -> None:
    with pytest.raises(Conflict, match="buffered"):
        check_worked_for(SHADOW, progress(), 1)
    check_worked_for(SHADOW, progress(), 0)
    check_worked_for(replace(SHADOW, source="extraction-windows"), progress(source="extraction-windows"), 1)


def test_the_report_counts_all_who_are_left_and_names_the_first() -> None:
    report = PromotionReport("better", executed=True, state="promoted", promoted=2, already=1)
    for number in range(LEFT_SHOWN + 5):
        report.leave(("default", f"user-{number}"), "missing")
    report.leave(("shop", "ann"), "imported")
    document = report_document(report)
    assert document["left"] == Counter({"missing": LEFT_SHOWN + 5, "imported": 1})
    assert (len(document["left_users"]), document["left_users"][0]) == (
        LEFT_SHOWN,
        {"project_id": "default", "user_id": "user-0", "reason": "missing"},
    )
    assert (document["promoted"], document["already"], document["later"], document["state"]) == (2, 1, 0, "promoted")


def test_a_person_is_told_who_stays_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    report = PromotionReport("better", executed=False, state="running", promoted=1234, later=2)
    report.leave(("default", "ann"), "imported")
    print_report(report, as_json=False)
    told = capsys.readouterr()
    assert "to be promoted now: 1,234" in told.out
    assert "left as they are: 1, imported: memory came by an import, which is on no topic" in told.out
    assert "ann in project default: imported" in told.err
    assert "--execute does it" in told.err
