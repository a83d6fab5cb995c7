"""What doctor makes of values that a test machine cannot have: several brokers, standbys, damaged topics."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.doctor.broker import judge_advertised, judge_broker, judge_refusal
from cli.doctor.database_rules import (
    MAX_PROJECTS,
    judge_embeddings,
    judge_entry,
    judge_extension,
    judge_held,
    judge_outbox,
    judge_projects,
    judge_schema,
)
from cli.doctor.findings import Finding, Result, exit_code, failed, ok, skipped, warning
from cli.doctor.groups import judge_group
from cli.doctor.local import LITTLE_SPACE_BYTES, Folder, judge_folder
from cli.doctor.topic_rules import judge_topic
from schemas.memory import EmbeddingModel
from schemas.settings import BUNDLED_EMBEDDING_MODEL, BufferSettings, KafkaSettings, Settings
from storage.inspection import Extension, HeldSummary, SchemaState, StoredEmbeddings
from streams.inspection import Member, TopicLayout
from streams.listeners import Address, Cluster, Spoken
from streams.topics import TopicDeclaration, Topics, declarations

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AT = Address("broker", 9092)


def declared(name: str) -> TopicDeclaration:
    (found,) = [topic for topic in declarations(KafkaSettings(), BufferSettings()) if topic.name == name]
    return found


def judged(name: str, copies: int, brokers: int = 3, settings: Settings | None = None, **config: str) -> list[Finding]:
    """Underscores in `config` stand for the dots of a topic's settings."""
    topic = declared(name)
    found = {**topic.config, **{key.replace("_", "."): value for key, value in config.items()}}
    return judge_topic(topic, TopicLayout(2, copies, ()), found, settings or Settings(), brokers)


def test_a_topic_as_declared_with_three_copies_is_well() -> None:
    assert judged("chat-messages", 3, min_insync_replicas="2") == []


@pytest.mark.parametrize(
    ("copies", "in_sync", "level", "said"),
    [
        (1, "1", "warning", "1 of 2 copies"),
        (3, "1", "warning", "on one broker only"),
        (2, "2", "warning", "while one broker restarts"),
        (2, "3", "failed", "takes no record of ours"),
    ],
)
def test_copies_that_do_not_keep_what_was_acknowledged(copies: int, in_sync: str, level: str, said: str) -> None:
    (finding,) = judged("chat-messages", copies, min_insync_replicas=in_sync)
    assert finding.level == level
    assert said in finding.found
    assert finding.fix


def test_a_single_broker_can_have_no_second_copy_and_is_not_blamed() -> None:
    assert judged("chat-messages", 1, brokers=1) == []


def test_a_partition_without_leader_fails() -> None:
    topic = declared("profiles")
    (finding,) = judge_topic(topic, TopicLayout(3, 3, (0, 2)), {"min.insync.replicas": "2"}, Settings(), 3)
    assert finding.level == "failed"
    assert "no leader for partition 0, 2" in finding.found


def test_settings_that_may_not_be_read_are_said_to_be_unchecked() -> None:
    (finding,) = judge_topic(declared("profiles"), TopicLayout(1, 1, ()), None, Settings(), 1)
    assert finding.level == "warning"
    assert "DescribeConfigs" in str(finding.fix)


def test_a_retention_that_was_configured_is_not_remarked_on() -> None:
    week_ms = 7 * 24 * 3600 * 1000
    settings = Settings(kafka=KafkaSettings(chat_retention_ms=week_ms))
    (topic,) = [t for t in declarations(settings.kafka, settings.buffer) if t.name == "chat-messages"]
    assert judge_topic(topic, TopicLayout(2, 1, ()), topic.config, settings, 1) == []


def test_a_topic_that_removes_by_size_is_remarked_on() -> None:
    (finding,) = judged("chat-messages", 1, 1, retention_bytes="1000000")
    assert "1000000 bytes" in finding.found


def test_tombstones_that_go_early_matter_to_copies_on_disk_only() -> None:
    changelog = Topics().buffer_changelog
    on_disk = Settings(buffer=BufferSettings(store="rocksdb"))
    assert judged(changelog, 1, 1, delete_retention_ms="1000") == []
    (finding,) = judged(changelog, 1, 1, on_disk, delete_retention_ms="1000")
    assert finding.level == "failed"


def test_a_compaction_that_nothing_bounds_is_remarked_on() -> None:
    (finding,) = judged("profiles", 1, 1, max_compaction_lag_ms=str((1 << 63) - 1))
    assert "max.compaction.lag.ms" in str(finding.fix)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("group.min.session.timeout.ms", "30000", "set kafka.session_timeout_s to 30"),
        ("group.max.session.timeout.ms", "5000", "set kafka.session_timeout_s to 5"),
        ("transaction.max.timeout.ms", "15000", "set kafka.transaction_timeout_s to 15"),
        ("auto.create.topics.enable", "true", "set auto.create.topics.enable=false"),
    ],
)
def test_each_setting_of_a_broker_that_does_not_suit_ours(setting: str, value: str, said: str) -> None:
    (finding,) = judge_broker(KafkaSettings(), {setting: value})
    assert said in str(finding.fix)


def test_a_broker_that_wants_a_password_over_tls() -> None:
    finding = judge_refusal(KafkaSettings(), AT, Spoken(True, ("SCRAM-SHA-512",)), ConnectionResetError())
    assert finding.found == "broker:9092 speaks SASL_SSL, kafka.security_protocol is PLAINTEXT"


def test_a_broker_that_ends_the_connection_after_tls_may_want_a_certificate() -> None:
    finding = judge_refusal(KafkaSettings(security_protocol="SSL"), AT, Spoken(True, None), ssl.SSLError())
    assert "kafka.ssl_cert_file" in str(finding.fix)


def test_a_broker_that_sends_clients_elsewhere_is_named() -> None:
    (finding,) = judge_advertised(Cluster({1: AT, 2: replace(AT, port=9093)}), {2})
    assert finding.found.startswith("broker 2 wants its clients to go on at broker:9093")


def test_a_group_of_ours_says_how_far_it_is_behind() -> None:
    assert judge_group("g", ["t"], [Member("faust-0.15", "h")] * 2, 5) == ok("g: 2 members, 5 records behind")


@pytest.mark.parametrize(
    ("extension", "level"),
    [
        (Extension("0.8.5", "0.8.5", may_create=False), "ok"),
        (Extension("0.7.0", "0.8.5", may_create=False), "ok"),
        (Extension("0.6.2", "0.8.5", may_create=True), "failed"),
        (Extension(None, "0.8.5", may_create=True), "warning"),
        (Extension(None, "0.8.5", may_create=False), "failed"),
        (Extension(None, None, may_create=True), "failed"),
    ],
)
def test_pgvector_is_there_or_can_be_made_or_not(extension: Extension, level: str) -> None:
    assert judge_extension(extension).level == level


@pytest.mark.parametrize(
    ("schema", "level", "said"),
    [
        (SchemaState("0002", is_known=True, pending=0, may_create=False), "ok", "up to date"),
        (SchemaState("0001", is_known=True, pending=1, may_create=True), "warning", "1 migration is to make"),
        (SchemaState("0001", is_known=True, pending=2, may_create=False), "failed", "may not create tables"),
        (SchemaState("0009", is_known=False, pending=0, may_create=True), "failed", "newer memostream"),
    ],
)
def test_tables_are_up_to_date_behind_or_ahead(schema: SchemaState, level: str, said: str) -> None:
    finding = judge_schema(schema)
    assert finding.level == level
    assert said in finding.found


def test_an_error_of_the_server_that_has_no_words_of_ours_names_its_kind_only() -> None:
    assert "PostgresError (XX000)" in judge_entry("database m at db", "XX000", "PostgresError (XX000)").found


def test_an_outbox_that_moves_is_well_and_one_that_stands_names_the_log() -> None:
    assert judge_outbox(7, NOW - timedelta(seconds=2), 1, NOW).level == "ok"
    stuck = judge_outbox(7, NOW - timedelta(minutes=9), 2, NOW)
    assert "the oldest for 9 minutes, though 2 relays run" in stuck.found
    assert "relay.*" in str(stuck.fix)


def test_nothing_held_is_well() -> None:
    assert judge_held(HeldSummary(0, 0, None, None), NOW) == ok("none")


def test_who_waits_for_the_next_day_is_told_what_else_helps() -> None:
    finding = judge_held(HeldSummary(3, 2, NOW - timedelta(minutes=5), "budget"), NOW)
    assert finding.level == "warning"
    assert "raise budget.*" in str(finding.fix)


def test_a_folder_is_judged_by_its_rights_and_its_room() -> None:
    folder = Folder(Path("/data"), is_folder=True, is_writable=True, free_bytes=LITTLE_SPACE_BYTES)
    path = Path("/data/copies")
    assert judge_folder(path, folder).level == "ok"
    assert judge_folder(path, replace(folder, free_bytes=LITTLE_SPACE_BYTES - 1)).level == "warning"
    assert "chown or chmod /data" in str(judge_folder(path, replace(folder, is_writable=False)).fix)


def test_only_a_failure_fails_unless_warnings_are_to() -> None:
    fine = Result("a", (ok("x"), skipped("y")))
    doubtful = Result("b", (warning("x", "y"),))
    faulty = Result("c", (failed("x", "y"),))
    assert exit_code([fine, doubtful], strict=False) == 0
    assert exit_code([fine], strict=True) == 0
    assert exit_code([fine, doubtful], strict=True) == 1
    assert exit_code([fine, faulty], strict=False) == 1


def test_projects_whose_configuration_no_longer_holds_are_named_up_to_a_number() -> None:
    right = {"shop": "profile_strict_mode: true"}
    assert [finding.level for finding in judge_projects(Settings(), right)] == ["ok"]
    wrong = {f"project {number}": "event_tags: 3" for number in range(MAX_PROJECTS + 2)}
    found = judge_projects(Settings(), right | wrong)
    assert [finding.level for finding in found] == ["warning"] * (MAX_PROJECTS + 1)
    assert "event_tags: must be a list (line 1)" in found[0].found
    assert "config set 'project 0' FILE" in str(found[0].fix)
    assert found[-1].found == "2 more projects likewise"


def test_whoever_goes_from_rules_to_a_model_is_not_sent_to_the_bundled_embeddings() -> None:
    (fault,) = judge_embeddings(StoredEmbeddings(256, BUNDLED_EMBEDDING_MODEL), 256, "text-embedding-3-small")
    assert fault.fix == (
        "choose another database, make others by `memostream reembed`, or set extraction.provider to offline, as it "
        "was when the database was made"
    )


def test_the_model_that_follows_is_right_once_its_vectors_are_ready() -> None:
    following = EmbeddingModel("large", 1024)
    ready = StoredEmbeddings(256, "small", following, is_ready=True)
    (found,) = judge_embeddings(ready, 1024, "large")
    assert (found.level, found.found) == (
        "ok",
        "large with 1024 dimensions, beside those of small: `memostream reembed finish` ends that",
    )
    (found,) = judge_embeddings(ready, 256, "small")
    assert found.level == "ok"
    (fault,) = judge_embeddings(StoredEmbeddings(256, "small", following), 1024, "large")
    assert (fault.level, "are still being made" in fault.found) == ("failed", True)
