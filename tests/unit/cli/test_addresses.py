"""Which broker and database a command talks to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.addresses import explicit_addresses, overridden, settings_of, with_addresses
from cli.commands.options import Place
from embedded.addresses import EmbeddedAddresses, held, published
from schemas.settings import Settings, load_settings

RUNNING = EmbeddedAddresses("127.0.0.1:4711", "postgresql+asyncpg://postgres@/memostream?host=/tmp/x")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    with held(tmp_path), published(tmp_path, RUNNING):
        yield tmp_path


def database_of(settings: Settings) -> str:
    return settings.storage.database_url.get_secret_value()


def test_a_running_system_is_found(folder: Path) -> None:
    settings = settings_of(Place(None, folder, verbose=False), environ={})
    assert settings.kafka.bootstrap_servers == RUNNING.bootstrap_servers
    assert database_of(settings) == RUNNING.database_url
    assert settings.buffer.data_dir == folder / "worker"


def test_what_is_configured_beats_the_running_system(folder: Path) -> None:
    environ = {"MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS": "elsewhere:9092"}
    settings = settings_of(Place(None, folder, verbose=False), environ=environ)
    assert settings.kafka.bootstrap_servers == "elsewhere:9092"
    assert database_of(settings) == RUNNING.database_url


def test_other_settings_stay_beside_a_found_address(folder: Path) -> None:
    environ = {"MEMOSTREAM_KAFKA__TOPIC_PREFIX": "x-", "MEMOSTREAM_BUFFER__DATA_DIR": "mine"}
    settings = settings_of(Place(None, folder, verbose=False), environ=environ)
    assert settings.kafka.topic_prefix == "x-"
    assert settings.buffer.data_dir == Path("mine")


def test_without_a_running_system_the_defaults_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_of(Place(None, tmp_path / "none", verbose=False), environ={}) == Settings()


def test_verbose_says_where_addresses_come_from_and_quotes_no_database_url(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"MEMOSTREAM_STORAGE__DATABASE_URL": "postgresql+asyncpg://u:hunter2@h/d"}
    settings_of(Place(None, folder, verbose=True), environ=environ)
    said = capsys.readouterr().err
    assert f"Kafka at {RUNNING.bootstrap_servers}: from the system in" in said
    assert "Postgres: as configured" in said
    assert "hunter2" not in said


def test_only_what_somebody_has_set_is_explicit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert explicit_addresses(load_settings(environ={"MEMOSTREAM_KAFKA__PARTITIONS": "3"})) == set()


def test_a_part_that_was_not_started_keeps_its_address() -> None:
    settings = with_addresses(Settings(), EmbeddedAddresses("", RUNNING.database_url), Path("d"))
    assert settings.kafka == Settings().kafka


def test_overridden_values_are_checked() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        overridden(Settings(), {"relay": {"shards": 0}})
