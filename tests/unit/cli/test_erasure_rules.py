"""When topics have let go of a user, by the settings that they have."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator

from cli.erasure_rules import BROKER_MS, compacted_topics, held_elsewhere, retained_topics
from schemas.erasure import BufferReport, ErasureReport, StageReport, TableReport, report_schema
from schemas.settings import BufferSettings, IngestSettings, Settings
from streams.shadow_topics import ShadowTopics
from streams.topics import Topics, declarations
from tests.support.sources import TICKETS_YAML

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)
BROKER = timedelta(milliseconds=BROKER_MS)
NO_LIMIT = str((1 << 63) - 1)


def configs(**kafka: int) -> dict[str, dict[str, str]]:
    settings = Settings.model_validate({"kafka": {"topic_prefix": "x-", **kafka}})
    return {topic.name: dict(topic.config) for topic in declarations(settings.kafka, settings.buffer)}


def test_the_report_names_five_topics_and_what_sets_an_end_to_those_without() -> None:
    found = {topic.topic: topic for topic in retained_topics("x-", [], configs(), NOW)}
    names = ["chat-messages", "extraction-windows", "dead-letters", "profile-updated", "event-updated"]
    assert list(found) == [f"x-{name}" for name in names]
    for endless in ("x-chat-messages", "x-dead-letters"):
        assert (found[endless].retention_ms, found[endless].gone_by) == (None, None)
        assert "retention.ms" in str(found[endless].fix)
    for name in ("x-extraction-windows", "x-profile-updated", "x-event-updated"):
        # A segment takes records for a week, and goes as a whole.
        assert found[name].gone_by == NOW + 30 * DAY + 7 * DAY + BROKER
        assert found[name].fix is None


def test_a_topic_with_short_segments_lets_go_sooner() -> None:
    hour_ms = 3600 * 1000
    settings = {"x-chat-messages": {"retention.ms": str(24 * hour_ms), "segment.ms": str(hour_ms)}}
    (found,) = retained_topics("x-", [], settings, NOW)
    assert found.gone_by == NOW + DAY + DAY / 24 + BROKER


def test_what_was_compacted_away_is_gone_first_and_its_tombstones_later() -> None:
    profiles, changelog = compacted_topics(Topics("x-"), [], configs(), NOW)
    assert (profiles.topic, changelog.topic) == ("x-profiles", "x-memostream-buffer-buffer-changelog")
    assert profiles.gone_by == NOW + DAY + BROKER
    assert profiles.tombstones_gone_by == NOW + 3 * DAY + 2 * BROKER


@pytest.mark.parametrize("config", [{}, {"max.compaction.lag.ms": NO_LIMIT}])
def test_a_compaction_that_nothing_bounds_is_said_to_have_no_end(config: dict[str, str]) -> None:
    (found,) = compacted_topics(Topics("x-"), [], {"x-profiles": config}, NOW)
    assert (found.gone_by, found.tombstones_gone_by) == (None, None)
    assert "max.compaction.lag.ms" in str(found.fix)


def test_sources_and_what_lies_outside_are_named_as_not_ours() -> None:
    plain = [item.what for item in held_elsewhere(Settings())]
    assert plain == ["logs", "backups", "consumers"]
    sources = IngestSettings.model_validate(yaml.safe_load(TICKETS_YAML)["ingest"])
    settings = Settings(ingest=sources, buffer=BufferSettings(store="rocksdb"))
    assert [item.what for item in held_elsewhere(settings)][:2] == [
        "topic TOPIC",
        "RocksDB folders of workers that do not run",
    ]


def test_a_report_fits_its_schema() -> None:
    report = ErasureReport(
        project_id="default",
        user_id="ann",
        user_hash="0" * 64,
        created_at=NOW,
        is_executed=True,
        is_complete=False,
        command=None,
        forgotten_at=NOW,
        stages=(StageReport(stage="database", is_done=True), StageReport(stage="relay", is_done=False, detail="no")),
        tables=(TableReport(table="profiles", found=2, left=0),),
        buffer=BufferReport(blobs=1, windows=0),
        compacted=compacted_topics(Topics("x-"), [], configs(), NOW),
        retained=retained_topics("x-", [], configs(), NOW),
        elsewhere=held_elsewhere(Settings()),
    )
    Draft202012Validator(report_schema()).validate(report.model_dump(mode="json"))


def test_the_topics_of_shadows_are_named_like_the_live_ones() -> None:
    shadow = ShadowTopics("x-", "b")
    found = {
        **configs(),
        shadow.extraction_windows: configs()["x-extraction-windows"],
        shadow.buffer_changelog: configs()[Topics("x-").buffer_changelog],
    }
    assert shadow.extraction_windows in {topic.topic for topic in retained_topics("x-", [shadow], found, NOW)}
    named = {topic.topic for topic in compacted_topics(Topics("x-"), [shadow], found, NOW)}
    assert named == {"x-profiles", Topics("x-").buffer_changelog, shadow.buffer_changelog}
