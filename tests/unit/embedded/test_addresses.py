import os
from pathlib import Path

import pytest

from embedded.addresses import EmbeddedAddresses, held, published, read_addresses
from embedded.postgres import EmbeddedPostgres
from schemas.errors import ConfigurationError

_ADDRESSES = EmbeddedAddresses("127.0.0.1:9", "postgresql+asyncpg://postgres@/memostream?host=/there")


def test_other_shells_find_the_services_while_they_run_and_not_after(tmp_path: Path) -> None:
    assert read_addresses(tmp_path) is None
    with held(tmp_path):
        assert read_addresses(tmp_path) is None
        with published(tmp_path, _ADDRESSES):
            assert read_addresses(tmp_path) == _ADDRESSES
    assert read_addresses(tmp_path) is None


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    with (
        held(tmp_path),
        pytest.raises(ConfigurationError, match=rf"in use by process {os.getpid()} \(.+\), since \d{{4}}-"),
        held(tmp_path),
    ):
        pass


def test_files_left_by_a_killed_holder_block_nobody_and_are_not_believed(tmp_path: Path) -> None:
    (tmp_path / "services.lock").write_text('{"pid": 1, "command": "up", "since": "2026-01-01"}')
    (tmp_path / "services.json").write_text('{"bootstrap_servers": "127.0.0.1:1", "database_url": "x"}')

    assert read_addresses(tmp_path) is None
    with held(tmp_path):
        assert read_addresses(tmp_path) is None


def test_the_socket_of_a_folder_with_a_long_path_is_elsewhere_and_always_the_same(tmp_path: Path) -> None:
    near = EmbeddedPostgres(Path("/d/postgres"))
    far = tmp_path / ("long" * 30)

    assert near.socket_dir == Path("/d/postgres/socket")
    assert not EmbeddedPostgres(far).socket_dir.is_relative_to(far)
    assert EmbeddedPostgres(far).socket_dir == EmbeddedPostgres(far).socket_dir
    assert len(os.fsencode(EmbeddedPostgres(far).socket_dir / ".s.PGSQL.5432.lock")) < 104
