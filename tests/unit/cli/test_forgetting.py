"""What is known of a user before a forget, and what a person is shown after it."""

from datetime import UTC, datetime, timedelta

import pytest

from cli.erasure_view import print_report
from cli.forgetting import Known
from schemas.erasure import BufferReport, ErasureReport, RetainedTopic, StageReport, TableReport
from storage.units import ForgetCutOff

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
CUT_OFF = ForgetCutOff(NOW, {})


@pytest.mark.parametrize(
    ("known", "is_unknown", "is_forgotten"),
    [
        (Known({"users": 0, "outbox": 0}, 0, 0, None), True, False),
        (Known({"users": 0, "outbox": 1}, 0, 0, None), False, False),
        (Known({"users": 1, "outbox": 0}, 0, 0, None), False, False),
        (Known({"users": 0, "outbox": 0}, 1, 0, None), False, False),
        (Known({"users": 0, "outbox": 0}, 0, 1, None), False, False),
        (Known({"users": 0, "outbox": 0}, 0, 0, CUT_OFF), False, True),
        # The tombstone of the forget itself.
        (Known({"users": 0, "outbox": 1}, 0, 0, CUT_OFF), False, True),
        # Somebody who has come back, or whom the buffer has not let go of.
        (Known({"users": 1, "outbox": 0}, 0, 0, CUT_OFF), False, False),
        (Known({"users": 0, "outbox": 0}, 1, 0, CUT_OFF), False, False),
    ],
)
def test_a_user_is_unknown_forgotten_or_there(known: Known, is_unknown: bool, is_forgotten: bool) -> None:
    assert (known.is_unknown, known.is_forgotten) == (is_unknown, is_forgotten)


def report(*, is_executed: bool) -> ErasureReport:
    return ErasureReport(
        project_id="default",
        user_id="ann\x1b[2J",
        user_hash="0" * 64,
        created_at=NOW,
        is_executed=is_executed,
        is_complete=False,
        command=None,
        forgotten_at=None,
        stages=(StageReport(stage="relay", is_done=False, detail="does one run?"),) if is_executed else (),
        tables=(TableReport(table="profiles", found=1200, left=0), TableReport(table="gists", found=0, left=0)),
        buffer=BufferReport(blobs=2, windows=0),
        compacted=(),
        retained=(
            RetainedTopic(topic="chat-messages", retention_ms=None, gone_by=None, fix="set an end"),
            RetainedTopic(topic="dead-letters", retention_ms=1000, gone_by=NOW + timedelta(days=1)),
        ),
        elsewhere=(),
    )


def test_a_plan_says_what_would_go_and_that_nothing_has_changed(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report(is_executed=False))
    out, err = capsys.readouterr()
    assert "would be forgotten" in out
    assert "1,200" in out
    assert "gists" not in out
    assert "left" not in out
    assert "buffered" in out
    assert "--execute" in err


def test_a_report_says_what_is_missing_and_until_when_topics_hold(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report(is_executed=True))
    out, err = capsys.readouterr()
    assert "relay: does one run?" in err
    assert "for ever" in out
    assert "set an end" in out
    assert "2026-12-01 12:00" in out
    assert "\x1b[2J" not in out
