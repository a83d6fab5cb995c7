"""How far a shadow is, and when it may be discarded."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cli.shadow_discard import check_may_go
from cli.shadow_status import ShadowStatus, Stage
from cli.shadow_status_view import status_document
from cli.shadows import unread
from schemas.errors import ConfigurationError
from schemas.memory import ExtractorIdentity, Usage
from schemas.settings import BufferSettings, KafkaSettings
from storage.shadow_counts import ShadowCounts
from storage.shadows import Shadow
from storage.usage import UsageSum
from streams.shadow_running import topics_of
from streams.shadow_topics import shadow_declarations

SHADOW = Shadow(
    name="better",
    topic_prefix="shop-",
    source="chat-messages",
    begin_offsets={0: 10},
    end_offsets=None,
    of_project=None,
    of_user_hash=None,
    max_cost=Decimal(20),
    extractor=ExtractorIdentity("openai", "1", "large", "0000"),
    generation=3,
    state="running",
    tails_before=None,
    tails_closed={},
    created_at=datetime(2026, 11, 20, tzinfo=UTC),
)
FIRST, LAST = {0: 5, 1: 0}, {0: 100, 1: 50}


def test_a_group_that_has_committed_nothing_has_its_whole_range_to_read() -> None:
    assert unread({0: 10}, {0: 60}, FIRST, LAST, {}) == ({0: 10}, {0: 60})


def test_what_is_committed_is_done_and_a_range_without_end_goes_up_to_the_last_record() -> None:
    assert unread({0: 10, 1: 0}, None, FIRST, LAST, {0: 99, 1: 50}) == ({0: 99, 1: 50}, LAST)


def test_what_retention_has_taken_or_nobody_has_written_yet_does_not_wait() -> None:
    assert unread({0: 0}, {0: 500}, FIRST, LAST, {}) == ({0: 5}, {0: 100})
    # A group is placed behind a partition that is not read.
    assert unread({0: 10}, None, FIRST, LAST, {0: 10, 1: 50}) == ({0: 10}, {0: 100})


def test_a_topic_of_its_own_is_read_as_a_whole() -> None:
    assert unread(None, None, FIRST, LAST, {0: 7}) == ({0: 7, 1: 0}, LAST)


def test_a_shadow_is_behind_by_all_its_stages_and_unknown_while_one_is() -> None:
    stages = (Stage("buffer", "chat-messages", 2, 4), Stage("extraction", "windows", 1, 3))
    spent = UsageSum({}, 1, 0, Usage(completions=2, embedding_calls=1, prompt_tokens=10), Decimal("1.5"), 0)
    status = ShadowStatus(SHADOW, stages, ShadowCounts(users=5, promoted_users=2), spent)
    assert (status.behind, status.workers) == (7, 2)
    unknown = replace(status, stages=(stages[0], replace(stages[1], behind=None)))
    assert unknown.behind is None
    document = status_document(status, "EUR")
    assert (document["behind"], document["users"], document["promoted_users"]) == (7, 5, 2)
    assert (document["calls"], document["cost"], document["max_cost"]) == (3, 1.5, 20.0)
    assert (document["begin_offsets"], document["end_offsets"]) == ({"0": 10}, None)


def test_a_shadow_that_is_made_from_windows_has_one_group_and_no_topic_of_its_own() -> None:
    windows = replace(SHADOW, source="extraction-windows")
    assert topics_of(windows).groups == ("shop-memostream-shadow-better-extraction",)
    settings = KafkaSettings(topic_prefix="shop-")
    assert shadow_declarations(settings, BufferSettings(), topics_of(windows), 4) == ()
    own = [topic.name for topic in shadow_declarations(settings, BufferSettings(), topics_of(SHADOW), 4)]
    assert own == [
        "shop-shadow-better-extraction-windows",
        "shop-memostream-shadow-better-buffer-buffer-changelog",
    ]


@pytest.mark.parametrize("state", ["creating", "running", "promoted"])
def test_a_shadow_may_go_in_any_state_while_nobody_works_for_it(state: str) -> None:
    check_may_go(replace(SHADOW, state=state), 0, keep_promoted=False)  # type: ignore[arg-type]


def test_a_shadow_that_runs_may_not_go_and_neither_may_one_whose_promotion_has_not_ended_without_a_word() -> None:
    with pytest.raises(ConfigurationError, match="running on 2 workers"):
        check_may_go(SHADOW, 2, keep_promoted=True)
    with pytest.raises(ConfigurationError, match="--keep-promoted"):
        check_may_go(replace(SHADOW, state="promoting"), 0, keep_promoted=False)
    check_may_go(replace(SHADOW, state="promoting"), 0, keep_promoted=True)
